//! What goes on for longer than a request: streams and subscribers.

use crate::{
    support::calls::key_for,
    world::{NEVER, World, realm},
};
use std::{fs, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tonic::Code;

#[tokio::test]
async fn a_stream_of_the_audit_log_goes_on_and_ends_with_its_realm() {
    let world = World::start(NEVER, &[("one", realm("one", 100)), ("two", realm("two", 100))]).await;
    world.stack.new_key("one", "acme", "live").await;
    world.stack.new_key("two", "acme", "live").await;
    let operator = world.stack.operator().to_owned();
    let mut one = world.stack.follow(Some(&operator), "one", "acme", Some(0)).await.unwrap();
    let mut two = world.stack.follow(Some(&operator), "two", "acme", Some(0)).await.unwrap();
    // The account, its key.
    for stream in [&mut one, &mut two] {
        for _ in 0..2 {
            stream.message().await.unwrap().unwrap();
        }
    }
    world.write("one", &realm("one", 90));
    world.remove("two");
    world.reload().await;
    world.stack.create("one", key_for("acme", "live")).await;
    let next = tokio::time::timeout(Duration::from_secs(10), one.message()).await.unwrap();
    assert!(next.unwrap().is_some());
    let ended = tokio::time::timeout(Duration::from_secs(10), two.message()).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::InvalidArgument);
}

/// Answers 200 to everything and tells what came.
async fn subscriber() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut bytes = vec![0; 16_384];
                let mut text = String::new();
                while !text.contains("key.revoked") && !text.contains("key.created") {
                    match stream.read(&mut bytes).await {
                        Ok(read @ 1..) => text.push_str(&String::from_utf8_lossy(&bytes[..read])),
                        _ => return,
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                let _ = sender.send(text);
            });
        }
    });
    (port, receiver)
}

#[tokio::test]
async fn a_subscriber_that_comes_is_told_from_then_on_and_one_that_goes_no_more() {
    let world = World::start(NEVER, &[("one", realm("one", 100))]).await;
    world.stack.new_key("one", "before", "live").await;
    let (port, mut received) = subscriber().await;
    fs::write(world.at("hook"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let hook = format!(
        "\n[[webhooks]]\nname = \"w\"\nurl = \"http://127.0.0.1:{port}/\"\nsecret_file = \"{}\"\nevents = [\"key.created\"]\n",
        world.at("hook").display()
    );
    world.write("one", &(realm("one", 100) + &hook));
    world.reload().await;
    world.stack.new_key("one", "while", "live").await;
    let told = tokio::time::timeout(Duration::from_secs(20), received.recv()).await.unwrap().unwrap();
    assert!(told.contains("while") && !told.contains("before"), "{told}");

    // Another secret is taken over, and said to be; what it says is not.
    fs::write(world.at("hook"), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n").unwrap();
    world.reload().await;
    let output = world.stack.output();
    assert!(output.contains("changed: the secrets of webhooks and of onboarding"), "{output}");
    assert!(!output.contains("C2FVsBQI"), "{output}");

    world.write("one", &realm("one", 100));
    world.reload().await;
    world.stack.new_key("one", "after", "live").await;
    assert!(tokio::time::timeout(Duration::from_secs(3), received.recv()).await.is_err());
}
