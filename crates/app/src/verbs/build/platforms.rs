//! `--platform`

use shipway_oci::Platform;

use crate::cli::BuildArgs;
use crate::failure::Failure;

/// Compat: docker, what a variable says holds where no flag says anything.
pub(super) fn parse(args: &BuildArgs) -> Result<Vec<Platform>, Failure> {
    let usual = std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default();
    parse_all(if args.platforms.is_empty() && !usual.is_empty() {
        usual.split(',').collect()
    } else {
        args.platforms.iter().map(String::as_str).collect()
    })
}

fn parse_all(texts: Vec<&str>) -> Result<Vec<Platform>, Failure> {
    let host = Platform::host();
    let instead = format!("leave it out, or name one or several: --platform {host},linux/arm64");
    let mut platforms = Vec::new();
    for text in texts {
        let platform: Platform = match text.trim() {
            // Compat: buildx.
            local if local.eq_ignore_ascii_case("local") => host.clone(),
            text => text.to_ascii_lowercase().parse().map_err(|error| Failure::new(error, &instead))?,
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_there_once_and_local_is_this_one() {
        let host = Platform::host().to_string();
        let of = |texts: &[&str]| {
            let all = parse_all(texts.to_vec());
            all.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(of(&["local"]).unwrap(), host);
        assert_eq!(of(&[&host, "Local", "LINUX/S390X"]).unwrap(), format!("{host} linux/s390x"));
        assert_eq!(of(&["darwin/arm64", "Windows/amd64"]).unwrap(), "darwin/arm64 windows/amd64");
        assert!(of(&["vax"]).unwrap_err().text().contains("`vax` is not a platform"));
    }
}
