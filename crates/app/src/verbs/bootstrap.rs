//! `shipway bootstrap`

use crate::bootstrap::Wishes;
use crate::cli::BootstrapArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::{End, Show};
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &BootstrapArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let name = args.name.as_deref().map(str::parse).transpose()?;
    let show = Show::open(args.progress, "Assembling")?;
    let wishes = Wishes {
        accept_expired: args.accept_expired_release,
        mirror: args.mirror.clone(),
        keyring: args.keyring.clone(),
        include: args.include.clone(),
    };
    let made = crate::bootstrap::make(engine, name.as_ref(), wishes, &show);
    show.close(End::from(&made));
    let made = made?;
    let how = if made.cached { "was there already" } else { "is ready" };
    for name in &made.names {
        ui.note(format!("{} {how}: {} packages", name.familiar(), made.packages.len()));
    }
    ui.line(made.image_id);
    Ok(0)
}
