//! The program: flags and environment → logging → bind → serve → exit code.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::{env, io};

use mcp_echo_stateful::app::App;
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::{Command, Config, endpoint_url};
use mcp_echo_stateful::{healthcheck, keys, listen, logging};

#[tokio::main]
async fn main() -> ExitCode {
    let command = Config::load(env::args_os(), env::vars_os()).and_then(|command| match command {
        Command::Serve(config) => keys::check(&config, Clock::new().wall_now()).map(|()| Command::Serve(config)),
        other => Ok(other),
    });
    let outcome = match command {
        Ok(Command::Serve(config)) => serve(*config).await.map(|()| String::new()),
        Ok(Command::Healthcheck { url }) => healthcheck::run(&url).await.map_err(Into::into),
        Ok(Command::Print(text)) => Ok(text),
        Err(mistakes) => {
            complain(&mistakes);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(text) => {
            // A server that ends has nothing to say here: its log may hold stdout, and wait for who reads it. A reader that
            // left early (`--help | head`) is no error.
            if !text.is_empty() {
                let _ = io::stdout().write_all(text.as_bytes());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let logging = logging::init(&config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let shutdown = listen::until_signalled(logging.reopener())?;
    let listener = listen::bind(&config.host, config.port).await?;
    let address = listener.local_addr()?;
    let url = endpoint_url(&address.ip().to_string(), address.port());
    tracing::info!(%url, version = env!("CARGO_PKG_VERSION"), "listening on {address}");
    if config.port == 0 && !tracing::enabled!(tracing::Level::INFO) {
        // Nobody could know the port.
        writeln!(io::stdout(), "{url}")?;
    }
    App::new(config).with_log(logging.log()).serve(listener, shutdown).await?;
    Ok(())
}

fn complain(error: &(impl std::fmt::Display + ?Sized)) {
    let _ = writeln!(io::stderr(), "{error}");
}
