//! Answers every HTTP request with its own name until it is told to end: the workload of the demo.

use std::env;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let name = env::var("HOSTNAME").unwrap_or_else(|_| "web".to_owned());
    let listener = TcpListener::bind(("0.0.0.0", 8080)).await?;
    let mut term = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            // One client at a time is enough for a probe; a client that hangs up is its own loss.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted { answer(stream, &name).await.ok(); },
        }
    }
}

async fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    let mut request = [0; 1024];
    // Any first bytes do: every path has the same answer.
    let _read = stream.read(&mut request).await?;
    let body = format!("{name}\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await
}
