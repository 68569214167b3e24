//! HTTP requests to servers of two kinds.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr},
};

use super::*;
use crate::{
    Seen,
    expect::check,
    probe::testing::{look, pair},
};

const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
///
/// The server tells whom it saw, over both IP versions; large bodies arrive whole; a dropped server refuses.
#[test]
fn the_server_tells_whom_it_saw() {
    let (a, b) = pair();
    let server = b.serve_http((TWO, 80)).unwrap();
    let outcome = look(&a.http((TWO, 80)).get());
    let Heard::Status { code: 200, client: "10.0.0.1", server: "b", body, .. } = outcome.seen() else {
        panic!("{outcome}")
    };
    assert!(body.starts_with("b saw 10.0.0.1 port "), "{body}");
    let outcome = look(&a.http((TWO, 80)).body_of(1 << 20));
    assert!(matches!(outcome.seen(), Heard::Status { code: 200, .. }), "{outcome}");
    let outcome = look(&a.http((TWO, 80)).path("/bytes/x"));
    assert!(matches!(outcome.seen(), Heard::Status { code: 400, .. }), "{outcome}");
    assert_eq!(server.requests(), 3);
    assert!(server.clients().iter().all(|client| client.ip() == Ipv4Addr::new(10, 0, 0, 1)));

    let two: IpAddr = "fd00::2".parse().unwrap();
    let _v6 = b.serve_http((two, 80)).unwrap();
    let outcome = look(&a.http((two, 80)).get());
    assert!(matches!(outcome.seen(), Heard::Status { code: 200, client: "fd00::1", .. }), "{outcome}");

    drop(server);
    let deadline = Deadline::after(Duration::from_secs(5));
    while look(&a.http((TWO, 80)).get()).heard != Heard::Refused {
        assert!(!deadline.passed(), "the dropped server still serves");
    }
}

/// A connection that is kept is one to the server, and shows when it is reset.
#[test]
fn a_kept_connection_is_used_again() {
    let (a, b) = pair();
    let server = b.serve_http((TWO, 80)).unwrap();
    let kept = a.http((TWO, 80)).connect().unwrap();
    for _ in 0..3 {
        let outcome = look(&kept);
        assert!(matches!(outcome.seen(), Heard::Status { code: 200, .. }), "{outcome}");
    }
    let clients = server.clients();
    assert!(clients.len() == 3 && clients.iter().all(|client| *client == clients[0]), "{clients:?}");
    drop(server);
    let deadline = Deadline::after(Duration::from_secs(5));
    while look(&kept).heard != Heard::Reset {
        assert!(!deadline.passed(), "the connection outlives its server");
    }
    let error = a.http((TWO, 81)).connect().err().unwrap().to_string();
    assert!(error.contains("refused"), "{error}");
}

/// A request goes out with its method, headers and body, and the answer's headers are seen.
#[test]
fn a_request_has_a_method_headers_and_a_body() {
    let (a, b) = pair();
    let listener = b.run(|| std::net::TcpListener::bind((TWO, 80)).unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let (mut heard, mut buffer) = (Vec::new(), [0; 1024]);
        while !heard.ends_with(b"{}") {
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&buffer[..count]);
        }
        client.write_all(b"HTTP/1.1 201 Created\r\nLocation: /networks/net1\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8(heard).unwrap()
    });
    let request = a.http((TWO, 80)).post("{}").path("/networks").header("Authorization", "Bearer x");
    let described =
        "a: curl -X POST -H 'Authorization: Bearer x' -H 'Content-Type:' --data-raw \"{}\" http://10.0.0.2:80/networks";
    assert_eq!(request.describe(), described);
    let seen = look(&request);
    let Heard::Status { code: 201, headers, .. } = seen.seen() else { panic!("{seen}") };
    assert!(headers.contains("location: /networks/net1\n"), "{headers}");
    let heard = server.join().unwrap();
    assert!(heard.starts_with("POST /networks HTTP/1.1\r\n"), "{heard}");
    let wanted = ["authorization: Bearer x", "host: 10.0.0.2:80", "content-length: 2"];
    for line in wanted {
        assert!(heard.to_lowercase().contains(&format!("\r\n{}\r\n", line.to_lowercase())), "{heard}");
    }
    let wrong = a.http((TWO, 80)).method("NO METHOD").look(Deadline::after(Duration::from_secs(5)));
    assert!(wrong.unwrap_err().to_string().contains("cannot be asked: invalid HTTP method"));
    let wrong = a.http((TWO, 80)).header("no header", "").look(Deadline::after(Duration::from_secs(5)));
    assert!(wrong.unwrap_err().to_string().contains("cannot be asked: invalid HTTP header name"));
}

/// Each look asks once, for as long as it is told to wait; what explains the failure asks nothing, and follows a
/// connection.
#[test]
fn what_is_posted_is_posted_by_looks_alone() {
    let (a, b) = pair();
    let listener = b.run(|| std::net::TcpListener::bind((TWO, 80)).unwrap()).unwrap();
    let server = std::thread::spawn(move || {
        let (mut connections, mut posts) = (0, 0);
        for client in listener.incoming() {
            let mut heard = Vec::new();
            // A client that gives up resets the connection.
            let _ = client.unwrap().read_to_end(&mut heard);
            if heard.starts_with(b"GET /end") {
                break;
            }
            connections += 1;
            posts +=
                usize::from(heard.starts_with(b"POST / ") && heard.windows(17).any(|it| it == b"content-length: 0"));
        }
        (connections, posts)
    });
    let soon = Duration::from_millis(100);
    let request = a.http((TWO, 80)).post("").timeout(soon);
    let failure = check(&request, "Status", soon, |seen| matches!(seen, Heard::Status { .. })).unwrap_err();
    look(&a.http((TWO, 80)).path("/end").timeout(soon));
    let (connections, posts) = server.join().unwrap();
    assert!(connections > posts && posts == failure.looks, "{connections} connections, {posts} posts: {failure}");
}

/// A server that accepts and says nothing is told from one that is not reached.
#[test]
fn a_mute_server_is_a_time_out_with_a_note() {
    let (a, b) = pair();
    let _mute = b.run(|| std::net::TcpListener::bind((TWO, 80)).unwrap()).unwrap();
    let outcome = look(&a.http((TWO, 80)).get());
    assert!(matches!(outcome.seen(), Heard::Mute), "{outcome}");
    assert!(outcome.to_string().starts_with("connected, but no whole answer (within "), "{outcome}");
}
