# shellcheck shell=bash disable=SC2034
# Shared by `run` and `test`: brings what is missing on a fresh Debian or Ubuntu. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What the window needs at run time (winit and glutin load these), and what cargo needs to build.
build_packages=(gcc libc6-dev ca-certificates)
window_packages=(libxcursor1 libxi6 libxrandr2 libx11-xcb1 libxkbcommon-x11-0 libgl1 libegl1 libdbus-1-3)
test_packages=(xvfb xauth xdotool imagemagick mesa-vulkan-drivers libgl1-mesa-dri)

# A screen for what follows. Without -noreset Xvfb resets once its last client leaves, as xdotool does that looked for the
# window too early, and refuses the program that connects meanwhile.
virtual_screen=(xvfb-run --auto-servernum --server-args='-noreset -screen 0 1600x1000x24')

say() { printf '%s\n' "$*" >&2; }

# install_packages NAME...: those that are not there yet, by apt; elsewhere says what it would have installed.
install_packages() {
    local name missing=()
    command -v dpkg-query >/dev/null || { say "This is not Debian or Ubuntu: make sure that the likes of these are installed: $*"; return 0; }
    for name in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null | grep -q '^installed$' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { say "Please install as root: apt-get install ${missing[*]}"; return 1; }
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# rustup's own installer; some networks reach only the server that toolchains come from, which has it too.
rustup_script() {
    local from=(curl --proto '=https' --tlsv1.2 --silent --show-error --fail --max-time 60)
    "${from[@]}" https://sh.rustup.rs || "${from[@]}" https://static.rust-lang.org/rustup/rustup-init.sh
}

# A toolchain that is there and new enough is taken; else rustup brings one.
ensure_toolchain() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    [ ! -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2 || true)
    if [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort --version-sort | head -n 1)" = "$wanted" ]; then
        return 0
    fi
    [ -z "$have" ] || say "cargo $have is older than $wanted, which DiaRet needs."
    if command -v rustup >/dev/null; then
        rustup toolchain install stable --profile minimal
        export RUSTUP_TOOLCHAIN=stable
        return 0
    fi
    say "Installing Rust by rustup"
    install_packages curl
    rustup_script | sh -s -- -y --profile minimal --no-modify-path
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
}
