//! A browser without a window, spoken to over a pipe: Chrome DevTools Protocol, messages of JSON with a 0 behind each.

use serde_json::{Value as Json, json};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// No answer comes later than this.
const PATIENCE: Duration = Duration::from_secs(120);

/// The browser that `SWINT_CHROMIUM` names, which must be there, or one in `PATH`. `None` where there is none: a machine of ours
/// that runs all tests names one.
pub fn find() -> Option<PathBuf> {
    if let Some(path) = env::var_os("SWINT_CHROMIUM").filter(|path| !path.is_empty()).map(PathBuf::from) {
        assert!(path.is_file(), "SWINT_CHROMIUM names {}, which is no file", path.display());
        return Some(path);
    }
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|p| p.is_file());
    if found.is_none() {
        eprintln!("no browser: neither SWINT_CHROMIUM names one, nor is {} in PATH", names.join(", "));
    }
    found
}

/// A running browser with one page.
pub struct Browser {
    process: Child,
    to: Option<ChildStdin>,
    from: Receiver<Json>,
    session: Option<String>,
    last: u64,
    /// What the browser said by itself since the page was opened.
    events: Vec<Json>,
    /// Removed when the browser has ended.
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser that knows nothing of its user.
    pub fn start(program: &Path) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        // The browser reads from its file 3 and writes to its file 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, from) = channel();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let Ok(json) = serde_json::from_slice(&message) else { break };
                if sender.send(json).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let to = process.stdin.take();
        let mut browser = Browser { process, to, from, session: None, last: 0, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method and gives its result.
    fn call(&mut self, method: &str, parameters: Json) -> Json {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.as_mut().unwrap().write_all(&bytes).unwrap();
        let id = self.last;
        let answer = self.until(method, |message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Waits for a message; others are kept.
    fn until(&mut self, what: &str, is: impl Fn(&Json) -> bool) -> Json {
        let start = Instant::now();
        loop {
            let left = PATIENCE.checked_sub(start.elapsed()).unwrap_or_default();
            let message = self.from.recv_timeout(left).unwrap_or_else(|e| panic!("the browser, {what}: {e}"));
            if is(&message) {
                return message;
            }
            self.events.push(message);
        }
    }

    /// Opens a file in a window of a size.
    pub fn open(&mut self, file: &Path, (width, height): (u32, u32), dark: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
        self.events.clear();
        self.call("Page.navigate", json!({"url": format!("file://{}", file.display())}));
        let is_loaded = |message: &Json| message["method"] == "Page.loadEventFired";
        if !self.events.iter().any(is_loaded) {
            self.until("loading", is_loaded);
        }
    }

    /// The value of an expression on the page.
    pub fn evaluate(&mut self, expression: &str) -> Json {
        let result = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(result["exceptionDetails"].is_null(), "{}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// What the browser complained about, and what it asked the network or the disk for beside the page itself.
    pub fn complaints(&self) -> Vec<String> {
        let of = |message: &Json| {
            let parameters = &message["params"];
            match message["method"].as_str()? {
                "Log.entryAdded" => Some(parameters["entry"]["text"].to_string()),
                "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" => Some(parameters.to_string()),
                "Network.requestWillBeSent" if parameters["type"] != "Document" => {
                    Some(parameters["request"]["url"].to_string())
                }
                _ => None,
            }
        };
        self.events.iter().filter_map(of).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when nobody speaks to it.
        self.to = None;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
