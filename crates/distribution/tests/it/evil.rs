//! A registry that sends its clients elsewhere, in each way that it can, to places that may be its own or not: none of them ever sees
//! what the client proves itself with. SECURITY.md, row 29.

use serde_json::json;
use shipway_distribution::list_tags;
use shipway_testkit::registry::{Asked, Reply, TestRegistry};

use crate::image::Image;
use crate::machine::Machine;

/// `me:pw`
const BASIC: &str = "Basic bWU6cHc=";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Manifest,
    Config,
    Layer,
    Realm,
    Upload,
    End,
    Page,
    Elsewhere,
}

const HOPS: [Hop; 8] =
    [Hop::Manifest, Hop::Config, Hop::Layer, Hop::Realm, Hop::Upload, Hop::End, Hop::Page, Hop::Elsewhere];

/// Returns what the registry says where it is asked for what this is about.
fn send_away(hop: Hop, asked: &Asked, image: &Image, to: &str) -> Option<Reply> {
    let away =
        |status: u16, path: &str| Reply::new(status, "").header("Location", format!("http://{to}{path}"));
    let is_blob = |bytes_of: String| asked.is("GET", &format!("/blobs/{bytes_of}"));
    let config = shipway_oci::Digest::of(&image.config_bytes()).to_string();
    match hop {
        Hop::Manifest if asked.is("GET", "/manifests/") => Some(away(307, &asked.target)),
        Hop::Config if is_blob(config) => Some(away(302, &asked.target)),
        Hop::Layer if is_blob(image.blob_digest(0).to_string()) => Some(away(308, &asked.target)),
        Hop::Upload if asked.is("POST", "/uploads/") => Some(away(202, "/v2/web/blobs/uploads/1")),
        Hop::End if asked.is("PUT", "/uploads/") || asked.is("PATCH", "/uploads/") => {
            Some(away(307, &asked.target))
        }
        Hop::Page if asked.is("GET", "/tags/list") => {
            let link = format!("<http://{to}/v2/web/tags/list?last=1>; rel=\"next\"");
            Some(Reply::new(200, r#"{"name":"web","tags":["1"]}"#).header("Link", link))
        }
        _ if asked.is("GET", "/tags/list") => Some(Reply::new(404, "")),
        _ => None,
    }
}

#[test]
fn whoever_one_is_sent_to_learns_nothing_of_who_asks() {
    let place = || TestRegistry::with_fault(|_, _| Some(Reply::new(404, "")));
    let places = [place(), place()];
    let addresses: Vec<String> = places
        .iter()
        .flat_map(|place| [place.address.clone(), place.address.replace("127.0.0.1", "localhost")])
        .collect();
    for hop in HOPS {
        for to in &addresses {
            // A token service may be at another port of the registry's own host.
            if hop == Hop::Realm && to.starts_with("127.0.0.1:") {
                continue;
            }
            let mut image = Image::of(&[b"layer"]);
            if hop == Hop::Elsewhere {
                image.manifest["layers"][0]["urls"] = json!([format!("http://{to}/layer")]);
            }
            let (asked_of, address) = (image.clone(), to.clone());
            let registry = TestRegistry::with_fault(move |asked, _| {
                if asked.header("authorization") != Some(BASIC) {
                    let challenge = match hop {
                        Hop::Realm => format!("Bearer realm=\"http://{address}/token\",service=\"x\""),
                        _ => "Basic realm=\"x\"".to_owned(),
                    };
                    return Some(Reply::new(401, "").header("WWW-Authenticate", challenge));
                }
                send_away(hop, asked, &asked_of, &address)
            });
            image.publish(&registry, "web", "1");
            let machine = Machine::new();
            machine.log_in(&registry.address, "me", "pw");
            let name = registry.name("web:1");
            // Whether any of it succeeds is not the question here.
            drop(machine.pull(&name));
            drop(list_tags(&machine.registries(), &name.parse().unwrap()));
            crate::push::build(&machine, &registry.name("new:1"), &[b"another layer"]);
            drop(machine.push(&registry.name("new:1")));
            let known = registry.asked().iter().any(|asked| asked.header("authorization") == Some(BASIC));
            assert_eq!(known, hop != Hop::Realm, "{hop:?}: the registry itself is told");
        }
    }
    for place in &places {
        for asked in place.asked() {
            let told =
                [asked.header("authorization"), asked.header("cookie"), asked.header("proxy-authorization")];
            assert_eq!(told, [None; 3], "{} {}", asked.method, asked.target);
        }
    }
    // Some of them were asked, or this would prove nothing.
    assert!(places.iter().any(|place| place.count("GET", "/blobs/") > 0));
}
