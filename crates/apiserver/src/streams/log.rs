//! `pods/log`.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Request, StatusCode, header};
use serde_json::Value;

use super::{StreamCall, node_status};
use crate::call::Query;
use crate::{LogRequest, NodeError, Status};

/// Answers with the log of a container, as it grows if the client follows it.
pub(crate) async fn log(call: StreamCall, request: Request<Body>) -> Result<Response, Status> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let wanted = parse(&call, &query)?;
    // A pod that no node has yet has no log, and nobody to ask.
    if call.pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return Ok(text(Body::empty()));
    }
    let limit = wanted.limit_bytes;
    let container = wanted.container.clone();
    let previous = wanted.previous;
    let stream = call.node.logs(wanted).await.map_err(|error| match error {
        NodeError::NotRunning { .. } => not_there(&call, &container, previous),
        other => node_status(&other),
    })?;
    let stream = stream.take_until(call.stop.clone().cancelled_owned());
    Ok(text(match limit {
        None => Body::from_stream(stream),
        Some(limit) => {
            let cut = stream.scan(limit, |left, piece| {
                let piece = match piece {
                    _ if *left == 0 => None,
                    Ok(mut bytes) => {
                        bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                        *left -= bytes.len() as u64;
                        Some(Ok::<Bytes, std::io::Error>(bytes))
                    }
                    Err(error) => Some(Err(error)),
                };
                std::future::ready(piece)
            });
            Body::from_stream(cut)
        }
    }))
}

fn text(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn not_there(call: &StreamCall, container: &str, previous: bool) -> Status {
    let pod = &call.name;
    if previous {
        let text = format!("previous terminated container {container:?} in pod {pod:?} not found");
        return Status::bad_request(text);
    }
    let reason = ["containerStatuses", "initContainerStatuses"]
        .iter()
        .flat_map(|list| call.pod["status"][*list].as_array().into_iter().flatten())
        .find(|status| status["name"] == container)
        .and_then(|status| status["state"]["waiting"]["reason"].as_str());
    let why = match reason {
        Some(reason @ ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName")) => {
            format!("trying and failing to pull image: {reason}")
        }
        Some(reason) => reason.to_owned(),
        None => "ContainerCreating".to_owned(),
    };
    let text = format!("container {container:?} in pod {pod:?} is waiting to start: {why}");
    Status::bad_request(text)
}

fn parse(call: &StreamCall, query: &Query) -> Result<LogRequest, Status> {
    let number = |field: &str, least: u64| -> Result<Option<u64>, Status> {
        let text = query.get(field);
        if text.is_empty() {
            return Ok(None);
        }
        let Ok(number) = text.parse::<i64>() else {
            return Err(Status::bad_request(format!("unable to convert {text:?} of {field} to a number")));
        };
        match u64::try_from(number) {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(invalid(
                call,
                &format!("{field}: Invalid value: {number}: must be greater than or equal to {least}"),
            )),
        }
    };
    let since_time = Some(query.get("sinceTime").to_owned()).filter(|time| !time.is_empty());
    let since_seconds = number("sinceSeconds", 1)?;
    if let Some(time) = &since_time {
        if crate::table::age::parse_time(&Value::from(time.as_str())).is_none() {
            return Err(Status::bad_request(format!("unable to parse {time:?} of sinceTime as RFC 3339")));
        }
        if since_seconds.is_some() {
            let text = "sinceTime: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
            return Err(invalid(call, text));
        }
    }
    Ok(LogRequest {
        namespace: call.namespace.clone(),
        pod: call.name.clone(),
        uid: call.uid().to_owned(),
        container: call.container(query.get("container"))?,
        follow: query.is_true("follow"),
        previous: query.is_true("previous"),
        timestamps: query.is_true("timestamps"),
        tail_lines: number("tailLines", 0)?,
        since_seconds,
        since_time,
        limit_bytes: number("limitBytes", 1)?,
    })
}

fn invalid(call: &StreamCall, what: &str) -> Status {
    let text = format!("PodLogOptions \"{}\" is invalid: {what}", call.name);
    Status::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text)
}
