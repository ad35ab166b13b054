//! Pages of keys: whole, in order, and cheap however few of the keys a filter lets through.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    ImportKeys, ImportRow, KeyState, ListKeys, UpdateKey, import_row::Secret, manage_keys_request::Operation,
    manage_keys_response::Result as Done,
};
use support::{calls::well_formed, keygate::Keygate, stack::Stack};

/// Makes 300 keys of three accounts, and gives their ids by account and by creation.
async fn three_hundred(keygate: &Keygate) -> Vec<String> {
    let row = |number: usize| ImportRow {
        secret: Some(Secret::RawKey(well_formed("rk_live_", &format!("Listed0Listed0Listed0Li{number:03}")))),
        account_id: format!("account-{}", number / 100),
        environment: "live".to_owned(),
        name: format!("key {number}"),
        ..Default::default()
    };
    let batch = ImportKeys { rows: (0..300).map(row).collect(), ..Default::default() };
    let Done::Imported(report) = keygate.manage("recurr", Operation::Import(batch)).await else { panic!("no report") };
    assert_eq!(report.imported, 300, "{report:?}");
    let mut ids = Vec::new();
    for account in 0..3 {
        let filter = ListKeys { account_id: format!("account-{account}"), page_size: 1_000, ..Default::default() };
        ids.extend(keygate.list("recurr", filter).await.keys.into_iter().map(|key| key.id));
    }
    ids
}

/// The ids that a filter lets through, read page by page; and how many pages that took.
async fn pages(keygate: &Keygate, filter: ListKeys) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let page = keygate.list("recurr", ListKeys { page_token, ..filter.clone() }).await;
        assert!(page.keys.len() <= usize::try_from(filter.page_size).unwrap());
        pages += 1;
        ids.extend(page.keys.into_iter().map(|key| key.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (ids, pages);
        }
    }
}

async fn suspend(keygate: &Keygate, id: &str) {
    let state = KeyState::Suspended.into();
    keygate.update("recurr", UpdateKey { key_id: id.to_owned(), state, ..Default::default() }).await;
}

on_both_stores! {
    async fn a_sparse_filter_shows_every_key_once_and_in_order(stack) {
        let ids = three_hundred(&stack).await;
        let wanted: Vec<String> = [0, 1, 2, 98, 150, 151, 299].map(|at| ids[at].clone()).into();
        for id in &wanted {
            suspend(&stack, id).await;
        }
        for page_size in [1, 2, 3, 7, 1_000] {
            let filter = ListKeys { state: KeyState::Suspended.into(), page_size, ..Default::default() };
            assert_eq!(pages(&stack, filter).await.0, wanted, "pages of {page_size}");
            let filter = ListKeys { environment: "live".to_owned(), page_size: page_size.max(90), ..Default::default() };
            assert_eq!(pages(&stack, filter).await.0, ids);
        }
        let (all, count) = pages(&stack, ListKeys { page_size: 100, ..Default::default() }).await;
        assert_eq!((all, count), (ids, 3));
    }
}

#[tokio::test]
async fn a_page_of_one_key_does_not_ask_the_store_key_by_key() {
    let stack = Stack::redis(&[]).await;
    let ids = three_hundred(&stack).await;
    suspend(&stack, &ids[299]).await;
    let redis = stack.redis.as_ref().unwrap();
    redis.cli(&["CONFIG", "RESETSTAT"]);
    let filter = ListKeys { state: KeyState::Suspended.into(), page_size: 1, ..Default::default() };
    let page = stack.list("recurr", filter).await;
    assert_eq!(page.keys.len(), 1);
    let stats = redis.cli(&["INFO", "commandstats"]);
    let calls = |name: &str| -> u32 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    assert!((1..30).contains(&calls("zrangebylex")), "{stats}");
    assert!((1..30).contains(&calls("hmget")), "{stats}");
}
