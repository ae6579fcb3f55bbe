//! What may be looked at: answered beside the loop, from the newest snapshot, the database and the chain.

use super::{
    Cause, Refused, Version,
    events::Events,
    metrics::page,
    server::{Desk, answer, malformed},
};
use crate::{
    status::{Snapshot, sectors::Choice},
    units::{BadUnit, SectorNumber},
};
use axum::{
    Json,
    extract::{Path as InPath, Query, State as Shared, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;

fn latest(desk: &Desk) -> Arc<Snapshot> {
    Arc::clone(&desk.feed.status.borrow())
}

fn told(found: Result<impl Serialize, Refused>) -> Response {
    match found {
        Ok(found) => Json(found).into_response(),
        Err(refused) => answer(Err(refused)),
    }
}

pub(super) async fn status(Shared(desk): Shared<Desk>) -> Response {
    Json(latest(&desk).as_ref()).into_response()
}

pub(super) async fn events(Shared(desk): Shared<Desk>) -> Response {
    let Ok(place) = Arc::clone(&desk.watchers).try_acquire_owned() else {
        let refused =
            Refused::new(Cause::Unavailable, "too many listen already", "end one of them, or ask for the status");
        return answer(Err(refused));
    };
    Events::new(desk.feed.status.clone(), desk.feed.moves.subscribe(), place).into_response()
}

pub(super) async fn sectors(Shared(desk): Shared<Desk>, choice: Result<Query<Choice>, QueryRejection>) -> Response {
    let help = "give state, why, failed, waiting and fast, as `seald sectors list --help` has them";
    match choice {
        Ok(Query(choice)) => told(desk.feed.reading.sectors(choice).await),
        Err(why) => answer(Err(malformed(&format!("the choice cannot be understood: {}", why.body_text()), help))),
    }
}

pub(super) async fn sector(Shared(desk): Shared<Desk>, InPath(number): InPath<String>) -> Response {
    match of_text(&number) {
        Ok(number) => told(desk.feed.reading.sector(number).await),
        Err(refused) => answer(Err(refused)),
    }
}

pub(super) async fn on_chain(Shared(desk): Shared<Desk>, InPath(number): InPath<String>) -> Response {
    match of_text(&number) {
        Ok(number) => told(desk.feed.reading.on_chain(number).await),
        Err(refused) => answer(Err(refused)),
    }
}

fn of_text(number: &str) -> Result<SectorNumber, Refused> {
    let help = "give the number of a sector, as `seald sectors list` shows it";
    number.parse().map_err(|why: BadUnit| malformed(&why.to_string(), help))
}

pub(super) async fn info(Shared(desk): Shared<Desk>) -> Response {
    told(desk.feed.reading.info().await)
}

pub(super) async fn metrics(Shared(desk): Shared<Desk>) -> Response {
    page(&latest(&desk))
}

pub(super) async fn version(Shared(desk): Shared<Desk>) -> Response {
    let snapshot = latest(&desk);
    Json(Version { format_version: 1, version: snapshot.version.clone(), pid: snapshot.pid }).into_response()
}
