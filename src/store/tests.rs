use serde_json::{Value, json};

use super::*;

fn document(collection: &str, body: Value) -> Document {
    let Value::Object(body) = body else { panic!("an object") };
    Document::new(Collection::find(collection).unwrap(), body, None).unwrap()
}

fn id(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

fn service(n: u8, name: &str) -> Document {
    document("services", json!({"id": id(n), "name": name, "tags": ["all", format!("t{n}")]}))
}

fn route(n: u8, name: &str, service: u8) -> Document {
    document("routes", json!({"id": id(n), "name": name, "service": {"id": id(service)}}))
}

async fn insert(store: &Store, document: &Document) -> Result<i64, Conflict> {
    let mut write = store.write().await.unwrap();
    write.insert(document).await.unwrap()?;
    Ok(write.commit().await.unwrap())
}

async fn fresh() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&format!("sqlite:{}/a/b.db", folder.path().display())).await.unwrap();
    (folder, store)
}

#[tokio::test]
async fn a_write_advances_the_revision_and_is_found() {
    let (_folder, store) = fresh().await;
    assert_eq!(store.revision().await.unwrap(), 0);
    assert_eq!(insert(&store, &service(1, "one")).await, Ok(1));
    assert_eq!(insert(&store, &service(2, "two")).await, Ok(2));
    assert_eq!(store.get("services", id(1)).await.unwrap().unwrap().body["name"], "one");
    assert_eq!(store.by_key("services", "name", "two").await.unwrap().unwrap().id, id(2));
    assert!(store.by_key("services", "name", "three").await.unwrap().is_none());
    assert_eq!(store.count("services").await.unwrap(), 2);
}

#[tokio::test]
async fn conflicts_are_told_apart_and_leave_nothing_behind() {
    let (_folder, store) = fresh().await;
    insert(&store, &service(1, "one")).await.unwrap();
    assert_eq!(insert(&store, &service(1, "other")).await, Err(Conflict::PrimaryKey(id(1))));
    let Err(Conflict::Unique { fields }) = insert(&store, &service(2, "one")).await else { panic!("taken") };
    assert_eq!(Value::from(fields), json!({"name": "one"}));
    let missing = Conflict::Missing { field: "service", parent: "services", id: id(9) };
    assert_eq!(insert(&store, &route(3, "r", 9)).await, Err(missing));
    assert_eq!(store.revision().await.unwrap(), 1);
}

#[tokio::test]
async fn deletes_cascade_or_are_refused() {
    let (_folder, store) = fresh().await;
    insert(&store, &service(1, "one")).await.unwrap();
    insert(&store, &route(2, "r", 1)).await.unwrap();
    let plugin = json!({"id": id(3), "name": "jwt", "route": {"id": id(2)}, "service": null, "consumer": null});
    insert(&store, &document("plugins", plugin)).await.unwrap();
    let mut write = store.write().await.unwrap();
    assert_eq!(write.delete("services", id(1)).await.unwrap(), Err(Conflict::Restricted { by: "routes".into() }));
    drop(write);
    let mut write = store.write().await.unwrap();
    let deleted = write.delete("routes", id(2)).await.unwrap().unwrap();
    assert_eq!(deleted.len(), 2);
    assert_eq!(write.delete("services", id(1)).await.unwrap().unwrap().len(), 1);
    assert_eq!(write.commit().await.unwrap(), 4);
    let changes = store.changes(Some(3)).await.unwrap();
    let Documents::Since(documents) = changes.documents else { panic!("not everything") };
    assert_eq!((changes.revision, documents.len()), (4, 3));
    assert!(documents.iter().all(|changed| changed.document.is_none()));
}

#[tokio::test]
async fn pages_follow_ids_and_tags() {
    let (_folder, store) = fresh().await;
    for n in 1..=5 {
        insert(&store, &service(n, &format!("s{n}"))).await.unwrap();
    }
    let ids = |page: &Page| page.documents.iter().map(|stored| stored.id).collect::<Vec<_>>();
    let mut query = Query { size: 2, ..Query::default() };
    let page = store.list("services", &query).await.unwrap();
    assert_eq!((ids(&page), page.next), (vec![id(1), id(2)], Some(id(2))));
    query.after = Some(id(4));
    let page = store.list("services", &query).await.unwrap();
    assert_eq!((ids(&page), page.next), (vec![id(5)], None));
    for (tags, found) in [
        (Tags::All(vec!["all".into(), "t3".into()]), vec![id(3)]),
        (Tags::All(vec!["t1".into(), "t3".into()]), vec![]),
        (Tags::Any(vec!["t1".into(), "t3".into()]), vec![id(1), id(3)]),
    ] {
        let page = store.list("services", &Query { size: 9, tags: Some(tags), ..Query::default() }).await.unwrap();
        assert_eq!((ids(&page), page.next), (found, None));
    }
    let (tags, more) = store.tags(None, None, 3).await.unwrap();
    assert_eq!((tags.len(), more, tags[0].tag.as_str()), (3, true, "all"));
    let (tags, more) = store.tags(Some("all"), tags.last(), 3).await.unwrap();
    assert_eq!((tags.len(), more), (2, false));
}

#[tokio::test]
async fn what_has_expired_is_gone_and_its_key_is_free() {
    let (_folder, store) = fresh().await;
    let mut one = service(1, "one");
    one.expires_at = Some(now_ms() - 1);
    insert(&store, &one).await.unwrap();
    assert!(store.get("services", id(1)).await.unwrap().is_none());
    insert(&store, &service(2, "one")).await.unwrap();
    assert_eq!(store.clean().await.unwrap(), 1);
    assert_eq!(store.count("services").await.unwrap(), 1);
    assert_eq!(store.by_key("services", "name", "one").await.unwrap().unwrap().id, id(2));
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let (folder, store) = fresh().await;
    let mut session = store.write_session().await.unwrap();
    session
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', 1, X'00', 0)",
            &[],
        )
        .await
        .unwrap();
    session.commit().await.unwrap();
    store.close().await;
    let fault = open(&format!("sqlite:{}/a/b.db", folder.path().display())).await.unwrap_err();
    assert!(matches!(fault, Error::Newer { found: 999, .. }), "{fault}");
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    use crate::entity::{Entity, Kind, tables};
    use crate::schema::Now;
    let mut dataset = crate::entity::Dataset::default();
    for (kind, input) in [
        (Kind::Service, json!({"id": id(1), "name": "s", "url": "http://127.0.0.1:1"})),
        (Kind::Route, json!({"id": id(2), "name": "r", "paths": ["/"], "service": {"id": id(1)}})),
        (Kind::Consumer, json!({"id": id(3), "username": "u"})),
        (Kind::JwtSecret, json!({"id": id(4), "key": "k", "consumer": {"id": id(3)}})),
    ] {
        let Value::Object(input) = input else { panic!("an object") };
        let body = tables::table(kind).insert(input, Now::system()).unwrap();
        dataset.put(Entity::from_document(kind, Value::Object(body)).unwrap());
    }
    let (_folder, store) = fresh().await;
    let first = store.import(&dataset).await.unwrap();
    assert_eq!((first.created, first.replaced, first.unchanged, first.revision), (4, 0, 0, 1));
    let again = store.import(&dataset).await.unwrap();
    assert_eq!((again.created, again.replaced, again.unchanged, again.revision), (0, 0, 4, 1));
    let mut exported = store.export().await.unwrap();
    assert_eq!(diff(&dataset, &exported), []);
    exported.remove(Kind::JwtSecret, id(4));
    assert_eq!(
        diff(&dataset, &exported),
        [Difference::Removed { collection: "jwt_secrets", id: id(4), name: "k".into() }]
    );
}

#[tokio::test]
async fn a_large_import_is_all_or_nothing() {
    use crate::entity::{Entity, Kind, tables};
    use crate::schema::Now;
    let entity = |kind: Kind, input: Value| {
        let Value::Object(input) = input else { panic!("an object") };
        let body = tables::table(kind).insert(input, Now::system()).unwrap();
        Entity::from_document(kind, Value::Object(body)).unwrap()
    };
    let mut dataset = crate::entity::Dataset::default();
    for n in 0..1_200_u128 {
        let consumer = Uuid::from_u128(n + 1);
        let tags = json!(["all", format!("t{}", n % 3), "all"]);
        dataset.put(entity(Kind::Consumer, json!({"id": consumer, "username": format!("u{n}"), "tags": tags})));
        let credential =
            json!({"id": Uuid::from_u128(n + 10_000), "key": format!("k{n}"), "consumer": {"id": consumer}});
        dataset.put(entity(Kind::JwtSecret, credential));
    }
    let (_folder, store) = fresh().await;
    let Value::Object(body) = json!({"id": id(9), "username": "u777", "custom_id": null, "tags": null}) else {
        panic!()
    };
    insert(&store, &Document::new(Collection::find("consumers").unwrap(), body, None).unwrap()).await.unwrap();
    let fault = store.import(&dataset).await.unwrap_err();
    assert!(
        matches!(&fault, ImportError::Conflict { conflict: Conflict::Unique { .. }, id, .. } if *id == Uuid::from_u128(778)),
        "{fault}"
    );
    assert_eq!((store.count("consumers").await.unwrap(), store.revision().await.unwrap()), (1, 1));
    let mut write = store.write().await.unwrap();
    write.delete("consumers", id(9)).await.unwrap().unwrap();
    write.commit().await.unwrap();
    let done = store.import(&dataset).await.unwrap();
    assert_eq!((done.created, done.revision), (2_400, 3));
    let page = |tags, after, size| Query { tags: Some(Tags::All(tags)), after, size, ..Query::default() };
    let found = store.list("consumers", &page(vec!["all".into(), "t1".into()], None, 1000)).await.unwrap();
    assert_eq!((found.documents.len(), found.next), (400, None));
    assert_eq!(store.by_key("jwt_secrets", "key", "k1199").await.unwrap().unwrap().id, Uuid::from_u128(11_199));
    assert_eq!(diff(&dataset, &store.export().await.unwrap()), []);
    // A gateway that follows sees all of it as one change.
    let Documents::Since(documents) = store.changes(Some(2)).await.unwrap().documents else { panic!("what changed") };
    assert_eq!(documents.len(), 2_400);
}

#[tokio::test]
async fn everything_is_read_whatever_a_document_holds() {
    let (_folder, store) = fresh().await;
    let named = |n: u128, name: String, expires_at| {
        let body = json!({"id": Uuid::from_u128(n), "username": name});
        let Value::Object(body) = body else { panic!("an object") };
        Document::new(Collection::find("consumers").unwrap(), body, expires_at).unwrap()
    };
    // More than are fetched at once, not in the order of their ids.
    let mut documents: Vec<Document> =
        (0..5_300).map(|n| named(u128::from(u32::MAX - n), format!("u{n}"), None)).collect();
    let odd = ["\u{1e}\u{1f}\0\n", "é\u{10ffff}", "\\u001e", &"x".repeat(70_000), &"é".repeat(40_000), ""];
    documents.extend((1..).zip(odd).map(|(n, name)| named(n, name.to_owned(), None)));
    documents.push(named(99, "stays".into(), Some(now_ms() + 60_000)));
    let mut write = store.write().await.unwrap();
    for some in documents.chunks(500) {
        assert!(write.insert_together(some).await.unwrap());
    }
    write.insert(&named(100, "ended".into(), Some(1))).await.unwrap().unwrap();
    write.commit().await.unwrap();

    let mut expected: Vec<(Uuid, Option<Value>)> =
        documents.iter().map(|document| (document.id, Some(Value::Object(document.body.clone())))).collect();
    expected.push((Uuid::from_u128(100), None));
    let Documents::All(mut everything) = store.changes(None).await.unwrap().documents else { panic!("everything") };
    let mut found = Vec::new();
    loop {
        let some = everything.next().await.unwrap();
        if some.is_empty() {
            break;
        }
        found.extend(some.into_iter().map(|document| {
            assert_eq!(document.collection, "consumers");
            (document.id, document.document.map(|text| serde_json::from_str::<Value>(&text).unwrap()))
        }));
    }
    expected.sort_by_key(|(id, _)| *id);
    found.sort_by_key(|(id, _)| *id);
    assert!(found == expected, "{} of {}", found.len(), expected.len());
}
