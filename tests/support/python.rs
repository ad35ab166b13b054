//! A gRPC client that shares no code with keygate: Python, over server reflection. See `tests/clients/python`.
//!
//! What it needs, and what else comes from PyPI, is installed once into a virtual environment below the build directory,
//! keyed by the list of requirements and the interpreter.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, PoisonError},
};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// The client's exit code for a gRPC error, which is a JSON object on its standard output.
const GRPC_ERROR: i32 = 1;

/// A client of the server at `host:port`.
pub fn python_client(address: impl Into<String>) -> PythonClient {
    PythonClient { address: address.into() }
}

/// Makes calls to one server.
pub struct PythonClient {
    address: String,
}

impl PythonClient {
    /// Calls `package.Service/Method`. `Ok` is the reply, with the field names of the proto files, fields at their
    /// default value included, and 64-bit numbers as strings; `Err` is a gRPC error, `{"code": "NOT_FOUND",
    /// "message": …, "details": […]}`. A metadata key that ends in `-bin` takes its value as base64.
    pub fn call(
        &self,
        method: &str,
        request: &serde_json::Value,
        metadata: &[(&str, &str)],
    ) -> Result<serde_json::Value, serde_json::Value> {
        let metadata = metadata.iter().map(|(key, value)| format!("--metadata={key}={value}"));
        let arguments = [method.to_owned(), request.to_string()].into_iter().chain(metadata);
        self.run(&arguments.collect::<Vec<_>>())
    }

    /// What the server says of the health of `service`; `""` is the whole server.
    pub fn health(&self, service: &str) -> Result<serde_json::Value, serde_json::Value> {
        self.run(&[format!("--health={service}")])
    }

    fn run(&self, arguments: &[String]) -> Result<serde_json::Value, serde_json::Value> {
        let mut command = python("python", "client.py");
        let output = command.arg(&self.address).args(arguments).output().expect("the virtual environment has a Python");
        let json = || serde_json::from_slice(&output.stdout).expect("the client prints JSON");
        match output.status.code() {
            Some(0) => Ok(json()),
            Some(GRPC_ERROR) => Err(json()),
            _ => panic!("the Python client failed ({}):\n{}", output.status, shown(&output)),
        }
    }
}

/// Runs a script of that folder in `tests/clients`, without standard input.
pub fn python(folder: &str, script: &str) -> Command {
    let mut command = Command::new(environment(folder).join("bin/python"));
    // `-B`: no compiled files beside the sources.
    command.arg("-B").arg(Path::new(CLIENTS).join(folder).join(script)).stdin(Stdio::null());
    command
}

/// The virtual environment with what `requirements.txt` of that folder in `tests/clients` lists, made if it is not there
/// yet. Other test processes wait for the one that makes it.
pub fn environment(folder: &str) -> PathBuf {
    try_environment(folder).unwrap_or_else(|problem| panic!("{problem}"))
}

/// The same, or why it cannot be made.
pub fn try_environment(folder: &str) -> Result<PathBuf, String> {
    static MADE: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = made.get(folder) {
        return Ok(known.clone());
    }
    let environment = make(folder)?;
    made.insert(folder.to_owned(), environment.clone());
    Ok(environment)
}

fn make(folder: &str) -> Result<PathBuf, String> {
    let requirements = Path::new(CLIENTS).join(folder).join("requirements.txt");
    let wanted = fs::read(&requirements).expect("`requirements.txt` can be read");
    let interpreter = run(
        Command::new("python3").args(["-c", "import sys; print(sys.executable, sys.version)"]),
        "Python 3 is needed for these tests: `apt-get install python3 python3-venv`",
    )?;
    let key = Sha256::new().chain_update(wanted).chain_update(interpreter.stdout).finalize();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{}", &HEXLOWER.encode(&key)[..16]));
    let complete = home.join("complete");

    fs::create_dir_all(&home).expect("the build directory can be written");
    let lock = File::create(home.join("lock")).expect("the build directory can be written");
    lock.lock().expect("a file in the build directory can be locked");
    let venv = home.join("venv");
    if !complete.exists() {
        // `--clear`: what an interrupted run has left is no base to build on.
        run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv),
            "a virtual environment could not be made: `apt-get install python3-venv`",
        )?;
        run(
            Command::new(venv.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(&requirements),
            &format!("`tests/clients/{folder}/requirements.txt` could not be installed from PyPI"),
        )?;
        File::create(&complete).expect("the build directory can be written");
    }
    Ok(venv)
}

fn run(command: &mut Command, help: &str) -> Result<Output, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{help}: {error}"))?;
    if output.status.success() { Ok(output) } else { Err(format!("{help}:\n{}", shown(&output))) }
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
