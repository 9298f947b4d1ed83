#include "vmm/devices.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>

#include "vhost/shared_files.h"
#include "virtio/balloon.h"
#include "virtio/block.h"
#include "virtio/console.h"
#include "virtio/entropy.h"
#include "virtio/net.h"
#include "virtio/ports.h"
#include "virtio/vsock.h"
#include "vmm/device_words.h"
#include "vmm/named_file.h"
#include "vmm/tap.h"

namespace bulkhead::vm {
namespace {

using Opened = Result<std::unique_ptr<Device>>;

Opened openEntropy(DeviceWords*) {
  return Opened(std::make_unique<Entropy>());
}

Opened openConsole(DeviceWords* words) {
  Fd input;
  if (words->has("in")) input = TRY(words->file("in", O_RDONLY));
  Output output(TRY(words->file("out", O_WRONLY)));
  return Opened(std::make_unique<Console>(std::move(input), std::move(output)));
}

Opened openBlock(DeviceWords* words) {
  BlockOptions options;
  options.readOnly = words->has("readonly");
  options.oneByOne = words->has("one-by-one");
  options.id = words->text("id");
  options.limits = TRY(words->limits());
  options.file = TRY(words->file("file", options.readOnly ? O_RDONLY : O_RDWR));
  return Opened(TRY(Block::create(std::move(options))));
}

Opened openPorts(DeviceWords* words) {
  std::vector<NamedOutput> outputs;
  for (const char* name : {"stdout", "stderr"}) {
    if (words->has(name)) outputs.push_back({name, Output(TRY(words->file(name, O_WRONLY)))});
  }
  if (outputs.empty()) return failure("word of a device missing", EINVAL, "stdout");
  return Opened(std::make_unique<Ports>(std::move(outputs)));
}

/** Six bytes as `02:00:00:00:00:01`. */
Result<MacAddress> parseAddress(const std::string& text) {
  MacAddress address;
  char end = 0;
  const int count = sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &address[0], &address[1], &address[2],
                           &address[3], &address[4], &address[5], &end);
  if (count != 6) return failure("address of a network card", EINVAL, text);
  return address;
}

Opened openNet(DeviceWords* words) {
  NetOptions options;
  options.address = TRY(parseAddress(words->text("mac")));
  options.mtu = static_cast<uint16_t>(TRY(words->number("mtu", 65535, 1500)));
  // As much each way.
  options.sending = options.receiving = TRY(words->limits());
  options.frames = words->has("tap") ? TRY(openTap(words->text("tap"))) : TRY(words->file("frames", O_RDWR));
  return Opened(TRY(Net::create(std::move(options))));
}

Opened openVsock(DeviceWords* words) {
  constexpr uint64_t kMaxCid = 0xfffffffe;
  VsockOptions options;
  options.cid = TRY(words->number("cid", kMaxCid, 0));
  options.path = words->text("path");
  if (words->has("listener")) options.listener = TRY(words->file("listener", O_RDWR));
  if (words->has("listen")) options.listener = TRY(listenAt(words->text("listen"), SOCK_STREAM));
  return Opened(TRY(Vsock::create(std::move(options))));
}

Opened openBalloon(DeviceWords* words) {
  constexpr uint64_t kPagesPerMib = 1024 * 1024 / Balloon::kPageBytes;
  constexpr uint64_t kMaxMib = 0xffffffff / kPagesPerMib;
  const uint64_t mebibytes = TRY(words->number("mib", kMaxMib, 0));
  return Opened(std::make_unique<Balloon>(static_cast<uint32_t>(mebibytes * kPagesPerMib)));
}

Opened openFiles(DeviceWords* words) {
  Fd socket = words->has("socket") ? TRY(connectTo(words->text("socket"), SOCK_STREAM))
                                   : TRY(words->file("connection", O_RDWR));
  return Opened(TRY(SharedFiles::create(std::move(socket), words->text("tag"))));
}

struct Kind {
  std::string_view name;
  Opened (*open)(DeviceWords* words);
};

constexpr Kind kKinds[] = {{"balloon", openBalloon}, {"block", openBlock}, {"console", openConsole},
                           {"entropy", openEntropy}, {"files", openFiles}, {"net", openNet},
                           {"ports", openPorts},     {"vsock", openVsock}};

}  // namespace

Result<std::unique_ptr<Device>> openDevice(std::string_view text) {
  DeviceWords words(text);
  for (const Kind& kind : kKinds) {
    if (kind.name != words.kind()) continue;
    auto device = TRY(kind.open(&words));
    TRY(words.finish());
    return Opened(std::move(device));
  }
  return failure("unknown device", EINVAL, words.kind());
}

const char* deviceUsage() {
  return "  balloon[,mib=N]   block,file=FILE[,readonly][,id=TEXT][,one-by-one][,LIMITS]   console,out=FILE[,in=FILE]  "
         " entropy\n"
         "  files,tag=TEXT,socket=PATH|connection=fd:N\n"
         "  net,mac=ADDRESS,frames=fd:N|tap=NAME[,mtu=N][,LIMITS]\n"
         "  ports,stdout=FILE[,stderr=FILE]\n"
         "  vsock,cid=N[,listener=fd:N|listen=PATH][,path=PREFIX]\n"
         "  LIMITS: bytes-per-second=N, operations-per-second=N, burst-bytes=N, burst-operations=N\n";
}

}  // namespace bulkhead::vm
