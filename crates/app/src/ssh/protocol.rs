//! What an agent is asked and answers. Spec: draft-miller-ssh-agent.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::Identity;
use super::wire::{Reader, Writer};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Longer messages are none. Compat: OpenSSH.
const LONGEST: u32 = 256 << 10;

/// Answers until the other side has enough.
pub(super) fn serve(keys: &[Identity], mut stream: UnixStream) -> io::Result<()> {
    while let Some(message) = read(&mut stream)? {
        write(&mut stream, &answer(keys, &message).unwrap_or_else(|| vec![FAILURE]))?;
    }
    Ok(())
}

/// Passes on what asks for identities and signatures, and what `agent` answers, until one side has enough. All else is refused and does
/// not reach the agent: whoever may use its keys may not change or lock it. Compat: BuildKit.
pub(crate) fn relay(mut client: UnixStream, mut agent: UnixStream) -> io::Result<()> {
    while let Some(message) = read(&mut client)? {
        if !matches!(message.first(), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST))) {
            write(&mut client, &[FAILURE])?;
            continue;
        }
        write(&mut agent, &message)?;
        let Some(answer) = read(&mut agent)? else { return Ok(()) };
        write(&mut client, &answer)?;
    }
    Ok(())
}

/// Reads a message; `None` when there are no more.
fn read(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length);
    if length == 0 || length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write(stream: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(&Writer::default().string(message).0)
}

/// Returns the answer; `None` if there is none but that it cannot be done: keys are neither added nor removed, nor told.
fn answer(keys: &[Identity], message: &[u8]) -> Option<Vec<u8>> {
    let mut message = Reader(message);
    match message.byte()? {
        REQUEST_IDENTITIES => {
            let mut answer = Writer::default().byte(IDENTITIES_ANSWER).number(keys.len());
            for identity in keys {
                answer = answer.string(identity.key.public()).string(&identity.comment);
            }
            Some(answer.0)
        }
        SIGN_REQUEST => {
            let (wanted, data) = (message.string()?, message.string()?);
            let flags = message.number()?;
            let identity = keys.iter().find(|identity| identity.key.public() == wanted)?;
            let signature = identity.key.sign(data, flags)?;
            Some(Writer::default().byte(SIGN_RESPONSE).string(signature).0)
        }
        _ => None,
    }
}
