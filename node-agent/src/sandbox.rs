//! What the agent forbids itself when it starts: local sockets.
//!
//! The host's `/run` is mounted for the sentinel files, and it is full of sockets. A read-only mount does not keep a process
//! from connecting to a socket that all users may use, such as that of the system bus. The agent needs none of them: it talks
//! to the API server by TCP, and to the actuator by files. So it forbids itself what leads to such a connection. Whoever
//! takes over the process later cannot take that back.

use std::collections::BTreeMap;

use anyhow::Context;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// The bits of a socket's type without its flags.
const TYPE: u64 = 0xf;
/// The socket types of a pair that may be connected to another socket afterwards.
const RECONNECTABLE: [libc::c_int; 3] = [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET];
/// The numbers of the 32-bit calls that a 64-bit process may make on x86-64.
const X32: libc::c_long = 0x4000_0000;

/// Forbids this process to use local sockets, for good. A pair of streams, which cannot be connected to anything else, is
/// still allowed: the runtime notices signals by one.
pub fn forbid_local_sockets() -> anyhow::Result<()> {
    let program = program().context("make the filter of system calls")?;
    apply_filter_all_threads(&program).context("apply the filter of system calls")
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let of_kind = |argument, operator, value: libc::c_int| {
        let value = u64::from(value.unsigned_abs());
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
        SeccompRule::new(vec![condition])
    };
    let local = of_kind(0, SeccompCmpOp::Eq, libc::AF_UNIX)?;
    let pairs = RECONNECTABLE.map(|kind| of_kind(1, SeccompCmpOp::MaskedEq(TYPE), kind));
    let pairs = pairs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut rules = BTreeMap::from([
        (libc::SYS_socket, vec![local]),
        (libc::SYS_socketpair, pairs),
        // It can make sockets, too.
        (libc::SYS_io_uring_setup, vec![]),
    ]);
    if cfg!(target_arch = "x86_64") {
        let x32: Vec<_> = rules.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
        rules.extend(x32);
    }
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_of_the_host_cannot_be_reached_and_the_network_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        UnixStream::connect(&path).expect("before");
        let program = program().unwrap();
        // In a thread of its own: the other tests go on as before.
        let sandboxed = std::thread::spawn(move || {
            seccompiler::apply_filter(&program).unwrap();
            for error in [
                UnixStream::connect(&path).unwrap_err(),
                UnixDatagram::unbound().unwrap_err(),
                UnixDatagram::pair().unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            }
            let (mut one, mut other) = UnixStream::pair().unwrap();
            one.write_all(b"!").unwrap();
            other.read_exact(&mut [0]).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            UdpSocket::bind("127.0.0.1:0").unwrap();
        });
        sandboxed.join().unwrap();
    }
}
