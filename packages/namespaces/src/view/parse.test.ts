import { describe, expect, test } from "vitest";
import type { InstanceId } from "@bulkhead/contracts";
import { parseAddresses } from "./connected.ts";
import { insideId, parseIdMap } from "./id-map.ts";
import { parseMountInfo } from "./mountinfo.ts";
import { instanceOfProcess } from "./namespace-members.ts";
import { capabilitiesOf, parseProcessStatus } from "./process-status.ts";
import { addressOf, parseInternetSockets, parseUnixSockets } from "./sockets.ts";

describe("mountinfo", () => {
  test("a bind of a part of a file system, shared, with blanks in its names", () => {
    const line = String.raw`36 35 98:0 /a\040b /mnt/two\134three rw,noatime,idmapped shared:7 master:2 - ext4 /dev/root rw,errors=continue`;
    expect(parseMountInfo(`${line}\n`)).toEqual([
      {
        target: String.raw`/mnt/two\three`,
        source: "/dev/root",
        type: "ext4",
        root: "/a b",
        device: "98:0",
        mode: "rw",
        options: ["noatime"],
        propagation: "shared",
        peerGroup: 7,
        idMapped: true,
      },
    ]);
  });

  test("a mount is read-only when its file system is", () => {
    const [mount] = parseMountInfo("36 35 0:5 / /sys rw,nosuid master:4 - sysfs sysfs ro");
    expect(mount).toMatchObject({ mode: "ro", options: ["nosuid"], propagation: "slave", peerGroup: 4 });
  });

  test("without optional fields it is private, and lines that are none are left out", () => {
    expect(parseMountInfo("36 35 0:5 / / ro - overlay overlay rw\nnonsense\n\n")).toMatchObject([
      { mode: "ro", propagation: "private", peerGroup: null },
    ]);
    expect(parseMountInfo("36 35 0:5 / / ro unbindable - overlay overlay rw")).toMatchObject([
      { propagation: "unbindable" },
    ]);
  });
});

describe("process status", () => {
  test("capabilities by bit; one that is newer than this release by its number", () => {
    expect(capabilitiesOf("0000000000000421")).toEqual(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    expect(capabilitiesOf("8000010000000000")).toEqual(["CAP_CHECKPOINT_RESTORE", "CAP_63"]);
    expect(capabilitiesOf("0000000000000000")).toEqual([]);
  });

  test("ids, sets and seccomp", () => {
    const text =
      "Uid:\t1\t268435456\t3\t4\nGid:\t1\t268435457\t3\t4\nCapEff:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
    expect(parseProcessStatus(text)).toMatchObject({
      uid: 268435456,
      gid: 268435457,
      capabilities: { effective: ["CAP_CHOWN"], permitted: [], inheritable: [] },
      noNewPrivileges: true,
      seccompMode: "filter",
      seccompFilters: 3,
    });
  });
});

test("ids are translated into what is seen inside, or to nobody", () => {
  const map = parseIdMap("         0  268435456      65536\n     70000 5 1\n");
  expect(insideId(map, 268435456)).toBe(0);
  expect(insideId(map, 268435456 + 65_535)).toBe(65_535);
  expect(insideId(map, 5)).toBe(70_000);
  expect(insideId(map, 0)).toBeNull();
});

describe("sockets", () => {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

  test("addresses in the kernel's byte order", () => {
    expect(addressOf("0100007F:1F90")).toBe("127.0.0.1:8080");
    expect(addressOf("00000000000000000000000001000000:0035")).toBe("[::1]:53");
    expect(addressOf("B80D0120000000000000000001000000:0050")).toBe("[2001:db8::1]:80");
  });

  test("listening ones only", () => {
    const listening =
      "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0";
    const connected =
      "   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0";
    expect(
      parseInternetSockets(`${head}${listening}\n${connected}\n`, "tcp", [{ inside: 0, outside: 1000, count: 1 }]),
    ).toEqual([{ protocol: "tcp", address: "0.0.0.0:8080", uid: 0 }]);
  });

  test("Unix sockets that listen or take datagrams, by path, with blanks, or abstract", () => {
    const text = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/my app.sock
0000000000000000: 00000002 00000000 00000000 0002 01 12346 @abstract
0000000000000000: 00000003 00000000 00000000 0001 03 12347 /run/connected
0000000000000000: 00000002 00000000 00000000 0001 01 12348
`;
    expect(parseUnixSockets(text)).toEqual([
      { protocol: "unix", address: "/run/my app.sock", uid: null },
      { protocol: "unix-abstract", address: "@abstract", uid: null },
    ]);
  });
});

test("addresses of a network namespace are its own ones, as people write them", () => {
  const trie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.31.0.0/24 2 0 2
        |-- 10.31.0.0
           /24 link UNICAST
        |-- 10.31.0.2
           /32 host LOCAL
        |-- 10.31.0.255
           /32 link BROADCAST
`;
  const six = "fd000031000000000000000000000002 3e8 40 00 80     eth0\n";
  expect(parseAddresses(trie, six)).toEqual(new Set(["10.31.0.2", "fd00:31::2"]));
  expect(parseAddresses("", "")).toEqual(new Set());
});

test("a process belongs to an instance by its cgroup's name alone", () => {
  const id = "01890000-0000-7000-8000-000000000001";
  const noOwner = (): undefined => undefined;
  expect(instanceOfProcess(`4:memory:/a/bulkhead-1/shared/${id}.1.2.0\n0::/x\n`, noOwner)).toBe(id);
  expect(instanceOfProcess(`0::/bulkhead-1/${id}.1.2.0/inner\n`, noOwner)).toBe(id);
  expect(instanceOfProcess("0::/system.slice/ssh.service\n", noOwner)).toBeNull();
});

test("a process that was born before its instance was known belongs to the one on record", () => {
  const id = "01890000-0000-7000-8000-000000000001" as InstanceId;
  const ready = "ready-0123456789abcdef.0.0.7";
  const ownerOf = (cgroup: string) => (cgroup === ready ? id : undefined);
  expect(instanceOfProcess(`0::/bulkhead-1/shared/${ready}\n`, ownerOf)).toBe(id);
  expect(instanceOfProcess(`0::/bulkhead-1/${ready}/inner\n`, ownerOf)).toBe(id);
  expect(instanceOfProcess("0::/bulkhead-1/ready-0123456789abcdef.0.0.8\n", ownerOf)).toBeNull();
});
