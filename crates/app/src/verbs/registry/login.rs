//! `shipway login`

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use shipway_distribution::{Credentials, Kept, Registries, RegistryError, Secret};

use crate::cli::LoginArgs;
use crate::failure::Failure;
use crate::pulls;
use crate::ui::Ui;

/// Compat: docker.
const DEFAULT: &str = "docker.io";
/// Longest password that is read.
const LIMIT: u64 = 1 << 20;

/// Compat: docker's words; what it warns of goes to the standard error.
pub(crate) fn run(args: &LoginArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let server = server(args.server.as_deref());
    let registries = pulls::registries()?;
    let says_nothing = args.username.is_none() && args.password.is_none() && !args.password_stdin;
    if says_nothing && is_known(&registries, &server, ui)? {
        ui.line("Login Succeeded");
        return Ok(0);
    }
    let (user, password) = ask(args, &server, ui)?;
    let credentials = Credentials::Password { user, password: Secret::new(password) };
    registries.named_as(&server, credentials.clone())?.log_in()?;
    let store = registries.credentials();
    let kept = if args.to_file {
        store.put_in_file(&server, &credentials)
    } else {
        store.put(&server, &credentials)
    };
    match kept? {
        Kept::File(path) => {
            ui.note(format!("WARNING! Your credentials are stored unencrypted in '{}'.", path.display()));
            ui.note("Configure a credential helper (`credsStore` in that file) to remove this warning.");
        }
        Kept::Keyring => {
            ui.note("Your credentials are in the kernel's keyring until this machine restarts; other tools do not see them there.");
            ui.note("`--to-file` keeps them unencrypted where docker does, `credsStore` in docker's config.json with a helper.");
        }
        Kept::Helper(_) => {}
    }
    ui.line("Login Succeeded");
    Ok(0)
}

/// Returns whether the registry takes what is kept for it. Compat: docker, who says nothing logs in with that, and is asked only where it
/// is not taken.
fn is_known(registries: &Registries, server: &str, ui: &mut Ui) -> Result<bool, Failure> {
    let Some(known) = registries.credentials().get(server)? else { return Ok(false) };
    let of_user = match &known {
        Credentials::Password { user, .. } => format!(" [Username: {user}]"),
        Credentials::Identity(_) => String::new(),
    };
    ui.note(format!("Authenticating with existing credentials...{of_user}"));
    match registries.named_as(server, known)?.log_in() {
        Ok(()) => Ok(true),
        Err(error @ RegistryError::WrongPassword { .. }) if std::io::stdin().is_terminal() => {
            ui.note(error);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the registry that was meant, by the name that images have.
pub(super) fn server(given: Option<&str>) -> String {
    let text = given.unwrap_or(DEFAULT);
    let text = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
    match text.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => DEFAULT.to_owned(),
        host => host.to_owned(),
    }
}

fn ask(args: &LoginArgs, server: &str, ui: &mut Ui) -> Result<(String, String), Failure> {
    let is_empty = |text: &Option<String>| text.as_deref() == Some("");
    if is_empty(&args.username) || is_empty(&args.password) {
        return Err(empty(server));
    }
    if args.password.is_some() && args.password_stdin {
        return Err(Failure::new(
            "--password and --password-stdin do not go together",
            format!(
                "`shipway login -u NAME --password-stdin {server}` reads the password from the standard input"
            ),
        ));
    }
    if args.password.is_some() {
        ui.note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None if args.password_stdin => {
            return Err(Failure::new(
                "--password-stdin needs --username",
                format!("name the user: `shipway login -u NAME --password-stdin {server}`"),
            ));
        }
        None => prompt("Username: ", false, server, ui)?,
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None if args.password_stdin => {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(LIMIT).read_to_string(&mut text);
            read.map_err(|error| unreadable(server, &error))?;
            // Compat: docker, one end of a line is not of the password, but what stands before it is.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            text.strip_suffix('\r').unwrap_or(text).to_owned()
        }
        None => prompt("Password: ", true, server, ui)?,
    };
    if user.is_empty() || password.is_empty() {
        return Err(empty(server));
    }
    Ok((user, password))
}

fn empty(server: &str) -> Failure {
    Failure::new("user name and password must not be empty", format!("`shipway login {server}`"))
}

/// Asks a person. What is typed as a secret is not shown.
fn prompt(question: &str, secret: bool, server: &str, ui: &mut Ui) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            "cannot ask for user name and password: the standard input is no terminal",
            format!("`shipway login -u NAME --password-stdin {server}` reads the password from it"),
        ));
    }
    let status = ui.status();
    // Without the question the answer is still wanted.
    drop(write!(status, "{question}").and_then(|()| status.flush()));
    let mut line = String::new();
    let hidden = secret.then(|| shipway_linux::HiddenInput::begin(std::io::stdin())).transpose();
    let _hidden = hidden.map_err(|error| unreadable(server, &error))?;
    let read = std::io::stdin().lock().take(LIMIT).read_line(&mut line);
    if secret {
        ui.note("");
    }
    read.map_err(|error| unreadable(server, &error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn unreadable(server: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("could not read the standard input: {error}"),
        format!("`shipway login -u NAME --password-stdin {server}`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_images_name_them() {
        for (given, want) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("quay.io"), "quay.io"),
            (Some("https://reg.test:5000/v2/"), "reg.test:5000"),
        ] {
            assert_eq!(server(given), want);
        }
    }
}
