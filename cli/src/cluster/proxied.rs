//! The client whose connections go through a proxy.

use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use kube::client::ConfigExt;
use kube::{Client, Config};
use lockkeeper_kube_util::{connector, http_service_over};

use super::proxy::{Protocol, Proxy};

/// Creates the client; the API server sees the same requests as without a proxy.
pub(super) fn client(config: &Config, proxy: &Proxy) -> kube::Result<Client> {
    let direct = connector();
    let service = match proxy.protocol {
        Protocol::Connect => {
            let to_proxy = config.rustls_https_connector_with_connector(direct)?;
            let mut tunnel = Tunnel::new(proxy.address.clone(), to_proxy);
            if let Some(authorization) = proxy.authorization() {
                tunnel = tunnel.with_auth(authorization);
            }
            http_service_over(config, tunnel)?
        }
        Protocol::Socks5 => {
            let mut tunnel = SocksV5::new(proxy.address.clone(), direct);
            if let Some((user, password)) = proxy.credentials().cloned() {
                tunnel = tunnel.with_auth(user, password);
            }
            http_service_over(config, tunnel)?
        }
    };
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::connect::server_name;
    use super::*;
    use crate::failure::Failure;

    const VERSION: &str = r#"{"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;

    async fn listener(scheme: &str) -> (TcpListener, Proxy) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("{scheme}://ada:pw@{address}");
        let proxy = Proxy::choose(Some(&url), &server(), |_| None).unwrap().unwrap();
        (listener, proxy)
    }

    /// A server that only the proxy could reach.
    fn server() -> Uri {
        "http://api.invalid:8001".parse().unwrap()
    }

    /// Without the certificate authorities of the machine, which may have none.
    fn config() -> Config {
        let mut config = Config::new(server());
        config.root_cert = Some(Vec::new());
        config
    }

    async fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// What follows once the proxy has connected: one request and its answer.
    async fn answer_request(stream: &mut TcpStream) -> String {
        let request = read_head(stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{VERSION}", VERSION.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    }

    #[tokio::test]
    async fn requests_go_through_an_http_proxy_with_its_password() {
        let (listener, proxy) = listener("http").await;
        let client = client(&config(), &proxy).unwrap();
        let proxy = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let connect = read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            (connect, answer_request(&mut stream).await)
        };
        let (version, (connect, request)) = tokio::join!(client.apiserver_version(), proxy);
        assert_eq!(version.unwrap().minor, "33");
        assert!(
            connect.starts_with("CONNECT api.invalid:8001 HTTP/1.1\r\n"),
            "{connect}"
        );
        assert!(connect.contains("Proxy-Authorization: Basic YWRhOnB3\r\n"), "{connect}");
        assert!(request.starts_with("GET /version HTTP/1.1\r\n"), "{request}");
    }

    #[tokio::test]
    async fn requests_go_through_a_socks_proxy_with_its_password() {
        let (listener, proxy) = listener("socks5").await;
        let client = client(&config(), &proxy).unwrap();
        let proxy = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(&[5, 2]).await.unwrap();
            let mut login = [0; 8];
            stream.read_exact(&mut login).await.unwrap();
            stream.write_all(&[1, 0]).await.unwrap();
            let mut connect = [0; 18];
            stream.read_exact(&mut connect).await.unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            (login, connect, answer_request(&mut stream).await)
        };
        let (version, (login, connect, request)) = tokio::join!(client.apiserver_version(), proxy);
        assert_eq!(version.unwrap().minor, "33");
        assert_eq!(&login, b"\x01\x03ada\x02pw");
        assert_eq!(&connect[5..16], b"api.invalid");
        assert!(request.starts_with("GET /version HTTP/1.1\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_named_in_the_error() {
        let (listener, proxy) = listener("http").await;
        let client = client(&config(), &proxy).unwrap();
        let refusal = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        };
        let (version, ()) = tokio::join!(client.apiserver_version(), refusal);
        let failure = Failure::of_request(
            "list Nodes",
            &server_name(&server(), Some(&proxy)),
            &version.unwrap_err(),
        );
        let expected = format!("list Nodes: cannot reach http://api.invalid:8001 (through {proxy}): ");
        assert!(failure.message.starts_with(&expected), "{}", failure.message);
        assert!(
            failure.message.contains("proxy authorization required"),
            "{}",
            failure.message
        );
    }
}
