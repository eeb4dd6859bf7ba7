//! Instructions that change the image's config and nothing else.
//!
//! Compat: BuildKit's dispatchers, down to the texts in the history.

use serde_json::json;
use shipway_dockerfile::{ArgDeclaration, CommandLine, InstructionKind, KeyValue, Lexer, UNSEEN_ARGS, Word};
use shipway_oci::Healthcheck;

use crate::Problem;
use crate::go_text::{duration, list, quoted, quoted_list, quoted_number};
use crate::ports::parse_ports;
use crate::signals::is_signal;
use crate::state::{StageState, WINDOWS};
use crate::variables::{Variables, set_env};

/// What the whole build gives to instructions.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) lexer: Lexer,
    pub(crate) build_args: &'a [(String, String)],
    /// ARGs before the first FROM and the platform's.
    pub(crate) global: &'a Variables,
    /// `SOURCE_DATE_EPOCH` as RFC 3339.
    pub(crate) epoch: Option<&'a str>,
}

/// Applies an instruction; returns `false` for one that also makes a layer, which this function leaves alone.
pub(crate) fn apply(
    state: &mut StageState,
    kind: &InstructionKind,
    around: &Surroundings<'_>,
) -> Result<bool, Problem> {
    let expand = |state: &StageState, word: &str| state.scope.expand(&around.lexer, word);
    let text = match kind {
        InstructionKind::Env(pairs) => env(state, pairs, around)?,
        InstructionKind::Label(pairs) => {
            let mut text = "LABEL".to_owned();
            for pair in pairs {
                let (key, value) = (expand(state, &pair.key)?, expand(state, &pair.value)?);
                text.push_str(&format!(" {key}={value}"));
                state.image.config.labels.insert(key, value);
            }
            text
        }
        InstructionKind::Maintainer(name) => {
            state.image.author = Some(name.clone());
            format!("MAINTAINER {name}")
        }
        InstructionKind::Expose(words) => expose(state, words, around)?,
        InstructionKind::Cmd(command) => {
            let args = with_shell(state, command);
            state.cmd_set = true;
            state.image.config.args_escaped = true;
            let text = format!("CMD {}", quoted_list(&args));
            // Compat: BuildKit, an empty one takes that of the base away.
            state.image.config.cmd = Some(args).filter(|args| !args.is_empty());
            text
        }
        InstructionKind::Entrypoint(command) => {
            let args = with_shell(state, command);
            if !state.cmd_set {
                state.image.config.cmd = None;
            }
            let text = format!("ENTRYPOINT {}", quoted_list(&args));
            state.image.config.entrypoint = Some(args).filter(|args| !args.is_empty());
            text
        }
        InstructionKind::Volume(volumes) => {
            let volumes =
                volumes.iter().map(|volume| expand(state, volume)).collect::<Result<Vec<_>, _>>()?;
            for volume in &volumes {
                if volume.is_empty() {
                    return Err(Problem::invalid("VOLUME: a path cannot be empty"));
                }
                state.image.config.volumes.insert(volume.clone(), json!({}));
            }
            format!("VOLUME {}", list(&volumes))
        }
        InstructionKind::User(user) => {
            state.image.config.user = expand(state, user)?;
            format!("USER {}", state.image.config.user)
        }
        InstructionKind::StopSignal(signal) => {
            let signal = expand(state, signal)?;
            if !is_signal(&signal) {
                return Err(Problem::invalid(format!("STOPSIGNAL: `{signal}` is no signal")));
            }
            state.image.config.stop_signal.clone_from(&signal);
            format!("STOPSIGNAL {signal}")
        }
        InstructionKind::Healthcheck(check) => {
            state.image.config.healthcheck = Some(check.clone());
            healthcheck_text(check)
        }
        InstructionKind::Shell(shell) => {
            state.image.config.shell = Some(shell.clone());
            format!("SHELL {}", list(shell))
        }
        InstructionKind::Onbuild(trigger) => {
            // Compat: BuildKit writes no history entry for it.
            state.image.config.on_build.push(trigger.clone());
            return Ok(true);
        }
        InstructionKind::Arg(declarations) => arg(state, declarations, around)?,
        InstructionKind::Run(_)
        | InstructionKind::Copy(_)
        | InstructionKind::Add(..)
        | InstructionKind::Workdir(_) => {
            return Ok(false);
        }
    };
    state.remember(text, around.epoch.map(str::to_owned), false);
    Ok(true)
}

fn env(state: &mut StageState, pairs: &[KeyValue], around: &Surroundings<'_>) -> Result<String, Problem> {
    // All values are expanded with what was set before the instruction.
    let expanded = pairs
        .iter()
        .map(|pair| {
            let key = state.scope.expand(&around.lexer, &pair.key)?;
            Ok((key, state.scope.expand(&around.lexer, &pair.value)?))
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    let mut text = "ENV".to_owned();
    for (key, value) in expanded {
        text.push_str(&format!(" {key}={value}"));
        state.scope.set(&key, &value);
        set_env(&mut state.image.config.env, &key, &value);
    }
    Ok(text)
}

fn arg(
    state: &mut StageState,
    declarations: &[ArgDeclaration],
    around: &Surroundings<'_>,
) -> Result<String, Problem> {
    let mut texts = Vec::new();
    for declaration in declarations {
        let name = &declaration.name;
        let given =
            around.build_args.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let value = match (given, &declaration.default) {
            (Some(value), _) => Some(value),
            (None, Some(default)) => Some(state.scope.expand(&around.lexer, default)?),
            (None, None) => around.global.get(name).map(str::to_owned),
        };
        if let Some(value) = value.as_ref().filter(|_| !UNSEEN_ARGS.contains(&name.as_str())) {
            state.scope.set(name, value);
        }
        texts.push(match &value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        state.args.push((name.clone(), value));
    }
    Ok(format!("ARG {}", texts.join(" ")))
}

fn expose(state: &mut StageState, words: &[Word], around: &Surroundings<'_>) -> Result<String, Problem> {
    let mut ports = Vec::new();
    for word in words {
        for port in state.scope.expand_words(&around.lexer, &word.text)? {
            ports.extend(parse_ports(&port)?);
        }
    }
    for port in &ports {
        state.image.config.exposed_ports.insert(port.clone(), json!({}));
    }
    Ok(format!("EXPOSE {}", list(&ports)))
}

/// Returns a command with the shell before it, if it is in shell form.
pub(crate) fn with_shell(state: &StageState, command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Exec(args) => args.clone(),
        CommandLine::Shell(line) => {
            let usual: &[&str] =
                if state.image.os == WINDOWS { &["cmd", "/S", "/C"] } else { &["/bin/sh", "-c"] };
            let default = || usual.iter().map(|&word| word.to_owned()).collect();
            let shell =
                state.image.config.shell.clone().filter(|shell| !shell.is_empty()).unwrap_or_else(default);
            shell.into_iter().chain([line.clone()]).collect()
        }
    }
}

fn healthcheck_text(check: &Healthcheck) -> String {
    let [interval, timeout, start_period, start_interval] =
        [check.interval, check.timeout, check.start_period, check.start_interval]
            .map(|time| quoted(&duration(time)));
    let (test, retries) = (quoted_list(&check.test), quoted_number(check.retries));
    format!("HEALTHCHECK &{{{test} {interval} {timeout} {start_period} {start_interval} {retries}}}")
}

#[cfg(test)]
mod tests;
