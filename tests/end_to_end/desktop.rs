//! A virtual screen with DiaRet's window on it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image::RgbImage;

/// Xvfb and the program; both end with it.
pub struct Desktop {
    display: String,
    window: String,
    program: Child,
    server: Child,
    _settings: tempfile::TempDir,
}

impl Desktop {
    /// A screen of `size` filled by the window, with `paths` open, settings of a first start, and the pointer out of the way.
    pub fn open(size: [u32; 2], paths: &[&Path]) -> Self {
        let (server, display) = screen(size);
        let settings = tempfile::tempdir().unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_diaret"))
            .args(paths)
            .args(["--device", "cpu"])
            .env("DISPLAY", &display)
            .env_remove("WAYLAND_DISPLAY")
            .env("LIBGL_ALWAYS_SOFTWARE", "1")
            .env("XDG_CONFIG_HOME", settings.path())
            .env("XDG_DATA_HOME", settings.path())
            .spawn()
            .unwrap();
        let mut desktop = Self { display, window: String::new(), program, server, _settings: settings };
        desktop.window = desktop.find_window();
        let [width, height] = size.map(|side| side.to_string());
        desktop.xdotool(&["windowmove", "--sync", &desktop.window.clone(), "0", "0"]);
        desktop.xdotool(&["windowsize", &desktop.window.clone(), &width, &height]);
        desktop.focus();
        desktop.xdotool(&["mousemove", "4", &(size[1] - 4).to_string()]);
        desktop
    }

    /// Presses a key (xdotool's name) some times, slowly enough for a frame each.
    pub fn press(&self, key: &str, times: usize) {
        self.xdotool(&["key", "--delay", "60", "--repeat", &times.to_string(), key]);
    }

    /// What the screen shows now.
    pub fn shot(&self) -> RgbImage {
        let taken = Command::new("import")
            .args(["-display", &self.display, "-window", "root", "-depth", "8", "png:-"])
            .output()
            .expect("ImageMagick's `import` is needed: packaging/test installs it");
        assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        image::load_from_memory(&taken.stdout).unwrap().into_rgb8()
    }

    fn find_window(&mut self) -> String {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.program.try_wait().unwrap() {
                panic!("the program ended without a window: {status}");
            }
            let found = self.xdotool(&["search", "--onlyvisible", "--name", "^DiaRet"]);
            if let Some(window) = found.lines().next() {
                return window.to_owned();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no window within a minute");
    }

    /// Without a window manager nobody else gives the window the keys, and one that is not drawn yet refuses them.
    fn focus(&self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            self.xdotool(&["windowfocus", &self.window]);
            std::thread::sleep(Duration::from_millis(100));
            if self.xdotool(&["getwindowfocus", "-f"]).trim() == self.window {
                return;
            }
        }
        panic!("the window does not take the keys");
    }

    fn xdotool(&self, arguments: &[&str]) -> String {
        let run = Command::new("xdotool")
            .args(arguments)
            .env("DISPLAY", &self.display)
            .output()
            .expect("xdotool is needed: packaging/test installs it");
        String::from_utf8_lossy(&run.stdout).into_owned()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in [&mut self.program, &mut self.server] {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// An X server on a free display, and the display's name.
///
/// It must not reset: by default it does once its last client leaves, as xdotool does that looked for the window too early,
/// and refuses the program that connects meanwhile.
fn screen([width, height]: [u32; 2]) -> (Child, String) {
    let mut server = Command::new("Xvfb")
        .args(["-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", &format!("{width}x{height}x24")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Xvfb is needed: packaging/test installs it");
    let mut number = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
    if number.trim().is_empty() {
        let mut reason = String::new();
        server.stderr.take().unwrap().read_to_string(&mut reason).unwrap();
        panic!("Xvfb did not start: {reason}");
    }
    (server, format!(":{}", number.trim()))
}
