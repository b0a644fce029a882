//! What a page may have its host do at a time, in what memory and for how long.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::parked::Parked;
use common::{Package, TestHost, host_with};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{
    Bridge, Decision, Instance, Limit, Limits, Policy, PromptPermissions, StaticPermissions,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

fn limited(limits: Limits, parked: &Parked) -> TestHost {
    let policy = Policy { limits, ..Policy::default() };
    let bridge = parked.bridge();
    host_with(|b| b.policy(policy).bridge(bridge).permissions(StaticPermissions::allow_all()))
}

fn calling(app: &Instance, params: &str) -> JoinHandle<Result<String, RpcError>> {
    let (app, params) = (app.clone(), params.to_owned());
    tokio::spawn(async move { app.dispatch("slow.wait", &params).await })
}

fn met(error: &RpcError) -> (i32, &Value) {
    (error.code, &error.data.as_ref().unwrap()["limit"])
}

/// A user who is asked, and answers when told.
#[derive(Clone, Default)]
struct User {
    asked: Arc<Notify>,
    answer: Arc<Notify>,
}

impl User {
    fn host(&self, parked: &Parked) -> TestHost {
        let user = self.clone();
        let provider = PromptPermissions::new(move |_| {
            let user = user.clone();
            async move {
                user.asked.notify_one();
                user.answer.notified().await;
                Decision::AllowAlways
            }
        });
        let bridge = parked.bridge();
        host_with(|b| b.bridge(bridge).permissions(provider))
    }
}

#[tokio::test]
async fn calls_of_a_page_have_so_many_places() {
    let parked = Parked::default();
    let host = limited(Limits { calls_in_flight: 2, ..Limits::PHONE }, &parked);
    let app = host.run(&Package::with(&["host.slow"])).await;
    let calls = [calling(&app, "1"), calling(&app, "2")];
    parked.inside(2).await;
    let refused = app.dispatch("slow.wait", "3").await.unwrap_err();
    assert_eq!(met(&refused), (code::BUSY, &json!("calls_in_flight")));
    assert_eq!(app.metrics().limits_met[&Limit::CallsInFlight], 1);
    parked.let_go(3);
    let [one, two] = calls;
    assert_eq!((one.await.unwrap(), two.await.unwrap()), (Ok("1".into()), Ok("2".into())));
    assert_eq!(app.dispatch("slow.wait", "4").await, Ok("4".into()), "places come back");
    assert_eq!(parked.most(), 2);
}

#[tokio::test]
async fn what_a_page_sends_is_charged_while_its_user_is_asked() {
    let (parked, user) = (Parked::default(), User::default());
    let host = user.host(&parked);
    let app = host.run(&Package::with(&["host.slow"])).await;
    let before = app.metrics().memory_bytes;
    let charged = || app.metrics().memory_bytes - before;
    let params = json!("x".repeat(100_000)).to_string();
    let call = calling(&app, &params);
    user.asked.notified().await;
    assert_eq!(charged(), (params.len() + "slow.wait".len()) as u64);
    user.answer.notify_one();
    parked.inside(1).await;
    assert_eq!(charged(), params.len() as u64);
    parked.let_go(1);
    assert_eq!(call.await.unwrap(), Ok(params));
    assert_eq!(charged(), 0);
}

#[tokio::test]
async fn what_there_is_no_memory_for_is_refused() {
    let parked = Parked::default();
    let host = limited(Limits { memory_bytes: 512 << 10, ..Limits::PHONE }, &parked);
    let app = host.run(&Package::with(&["host.slow"])).await;
    let params = json!("x".repeat(200 << 10)).to_string();
    let call = calling(&app, &params);
    parked.inside(1).await;
    let refused = app.dispatch("slow.wait", &params).await.unwrap_err();
    assert_eq!(met(&refused), (code::TOO_LARGE, &json!("memory")));
    parked.let_go(1);
    assert_eq!(call.await.unwrap(), Ok(params));
    assert_eq!(parked.most(), 1);
}

#[tokio::test]
async fn a_call_of_a_page_has_its_time_and_a_question_does_not_count() {
    const WALL: Duration = Duration::from_millis(500);
    let parked = Parked::default();
    let provider = PromptPermissions::new(|_| async {
        tokio::time::sleep(2 * WALL).await;
        Decision::AllowAlways
    });
    let policy = Policy { limits: Limits { wall_per_call: WALL, ..Limits::PHONE }, ..Policy::default() };
    let bridge = parked.bridge();
    let host = host_with(|b| b.policy(policy).bridge(bridge).permissions(provider));
    let app = host.run(&Package::with(&["host.slow"])).await;
    parked.let_go(1);
    assert_eq!(app.dispatch("slow.wait", "1").await, Ok("1".into()));
    let late = app.dispatch("slow.wait", "2").await.unwrap_err();
    assert_eq!(met(&late), (code::TIMED_OUT, &json!("wall")));
    parked.inside(0).await;
    assert_eq!(app.metrics().limits_met[&Limit::Wall], 1);
}

#[tokio::test]
async fn a_page_of_a_hidden_app_does_nothing() {
    let (parked, user) = (Parked::default(), User::default());
    let host = user.host(&parked);
    let app = host.run(&Package::with(&["host.slow"])).await;
    // One call is under way when the app is hidden, as far as to the question.
    let asking = calling(&app, "1");
    user.asked.notified().await;
    app.hide().await.unwrap();
    assert_eq!(app.dispatch("log.write", "{}").await.unwrap_err().code, code::BUSY);
    assert_eq!(app.authorize("log.write").await.unwrap_err().code, code::BUSY);
    user.answer.notify_one();
    assert_eq!(asking.await.unwrap().unwrap_err().code, code::BUSY);
    assert_eq!(parked.most(), 0);
    app.show().await.unwrap();
    parked.let_go(1);
    assert_eq!(app.dispatch("slow.wait", "2").await, Ok("2".into()));
}

#[tokio::test]
async fn an_error_is_no_longer_than_a_message() {
    let long = "é\"".repeat(1 << 20);
    let text = long.clone();
    let bridge = Bridge::new("host.loud")
        .immediate("loud.message", move |_, _: Value| {
            Err::<(), _>(RpcError::new(7, text.clone()).with_data(json!(text)))
        })
        .method("loud.data", move |_, _: Value| {
            let error = RpcError::new(8, "Short.").with_data(json!(long));
            async move { Err::<(), _>(error) }
        });
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.loud"])).await;
    let message = app.dispatch("loud.message", "{}").await.unwrap_err();
    assert!(serde_json::to_string(&message).unwrap().len() <= app.limits().message_bytes);
    assert!(message.message.starts_with("é\"é") && message.message.ends_with('…'), "{message}");
    assert_eq!((message.code, message.data), (7, None));
    let data = app.dispatch("loud.data", "{}").await.unwrap_err();
    assert_eq!(data, RpcError::new(8, "Short."));
}

/// None of it runs in the guest.
#[tokio::test]
async fn what_a_page_has_its_host_compute_is_held_to_its_time() {
    let limits = Limits { cpu_per_second: Duration::from_millis(10), ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::default()).await;
    let met = || app.metrics().limits_met.get(&Limit::CpuPerSecond).copied().unwrap_or(0);
    assert_eq!(met(), 0);
    let until_held = async {
        while met() == 0 {
            app.dispatch("random.bytes", r#"{"length":65536}"#).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until_held).await.expect("it is never held");
    // It is made to wait, and goes on.
    app.dispatch("random.bytes", r#"{"length":8}"#).await.unwrap();
    assert_eq!(app.call::<Value>("echo", &json!(1)).await.unwrap(), json!(1));
}
