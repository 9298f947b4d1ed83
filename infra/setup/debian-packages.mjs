/**
 * Every Debian package that set-up installs, and why. `run` is what `npm run up` needs; the others only what their own
 * command needs on top.
 */
export const debianPackages = {
  run: {
    "g++": "compiles the native container runtime",
    cmake: "configures the native build",
    "ninja-build": "runs the native build; a no-op build takes milliseconds",
    "rapidjson-dev": "header-only JSON reader of the plan compiler",
    "libarchive-dev": "tar reader of the image unpacker",
    "nats-server": "the message bus",
    "ca-certificates": "TLS roots for npm and for tokens sent to a remote API",
    "util-linux": "unshare, setpriv and flock: how `up` starts services as unprivileged users",
    passwd: "useradd and userdel: the system users of the services",
    e2fsprogs: "mkfs.ext4: shares of a fixed size, and disks that tests fill",
    procps: "ps, for people who look at what runs",
  },
  test: {
    clang: "libFuzzer and its sanitizers, for the fuzzers of the native core",
    "libclang-rt-14-dev": "libFuzzer's library itself, which clang only recommends",
    containerd: "a container engine: ctr drives our OCI runtime through its shim",
    buildah: "builds images that must be accepted, with steps that run in our OCI runtime",
    conmon: "podman's monitor, which starts the OCI runtime and holds its terminals",
    runc: "the peer that container starts are measured against",
    podman: "a container engine that must work with our OCI runtime, and a peer for starts and removals",
    skopeo: "writes archives that image import is tested with, and pushes images to a registry",
    "docker-registry": "the registry that pulls are tested against",
    "apache2-utils": "htpasswd, for a registry with a password",
    openssl: "makes the certificates of test servers",
    "libseccomp-dev": "a second opinion on what seccomp profiles mean",
    umoci: "a second opinion on OCI layouts",
    "busybox-static": "the smallest real user space for container tests",
    curl: "runs what --print-request prints",
    nftables: "nft, a second opinion on rules and what removal leaves",
    iproute2: "brings loopback up where an image is tried without our runtime; makes links in tests of networks",
    "libcap2-bin": "setcap, for archives whose files have capabilities",
    attr: "setfattr, for archives whose files have extended attributes",
    strace: "a tracer that is there already, for a view that must do without its own; calls that a kernel lacks",
    crun: "the fastest peer; it runs on the lab host only, because it refuses mixed cgroup hierarchies",
    "qemu-system-x86": "the lab host: a machine with cgroup v2, its own kernel and a KVM that runs in software",
    kmod: "depmod, for the lab host's kernel; modprobe in it",
    systemd: "init of the lab host that comes up as a Debian machine does",
    prometheus: "promtool, which parses our metrics as Prometheus does",
  },
  check: {
    "clang-format": "checks the format of C++",
  },
};
