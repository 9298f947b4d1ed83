#include "plan/cgroup_writes.h"
#include "plan/compile.h"
#include "runner.h"

namespace bulkhead {
namespace {

/** "controller/file=value" of each write, joined by blanks; or "! message". */
std::string writesOf(const char* resources, bool unified) {
  rapidjson::Document document;
  std::string reason;
  EXPECT(plan::parseBounded(resources, &document, &reason));
  Arena arena(1 << 20);
  plan::Context context(&arena);
  plan::CgroupWrites writes(&context, unified);
  const plan::View root(document);
  if (!writes.compile(root)) return "! " + context.error().pointer + " " + context.error().message;
  std::string text;
  for (const auto& entry : writes.entries()) {
    if (!text.empty()) text += " ";
    text += std::string(entry.controller) + "/" + entry.file + "=" + entry.value;
  }
  return text;
}

TEST(sharesFollowTheCurveOfTheSpecification) {
  EXPECT(plan::weightForShares(0) == 0);
  EXPECT(plan::weightForShares(2) == 1);
  EXPECT(plan::weightForShares(1024) == 100);
  EXPECT(plan::weightForShares(262144) == 10000);
  uint64_t before = 0;
  for (uint64_t shares = 2; shares <= 262144; ++shares) {
    const uint64_t weight = plan::weightForShares(shares);
    EXPECT(weight >= before && weight >= 1 && weight <= 10000);
    before = weight;
  }
}

TEST(cpuGoesToBothVersions) {
  const char* all = R"({"cpu":{"shares":512,"quota":20000,"period":100000,"burst":5000,"cpus":"0","mems":"0"}})";
  EXPECT_TEXT(writesOf(all, false),
              "cpuset/cpuset.cpus=0 cpuset/cpuset.mems=0 cpu/cpu.shares=512 cpu/cpu.cfs_period_us=100000 "
              "cpu/cpu.cfs_quota_us=20000 cpu/cpu.cfs_burst_us=5000");
  EXPECT_TEXT(writesOf(all, true),
              "cpuset/cpuset.cpus=0 cpuset/cpuset.mems=0 cpu/cpu.weight=59 cpu/cpu.max=20000 100000 "
              "cpu/cpu.max.burst=5000");
  EXPECT_TEXT(writesOf(R"({"cpu":{"quota":-1}})", true), "cpu/cpu.max=max");
  EXPECT_TEXT(writesOf(R"({"cpu":{"period":50000}})", true), "cpu/cpu.max=$ 50000");
  EXPECT_TEXT(writesOf(R"({"cpu":{"realtimeRuntime":5}})", true),
              "! /cpu has real-time limits, which do not exist in cgroup v2");
}

TEST(memoryGoesToBothVersions) {
  const char* all = R"({"memory":{"limit":1000,"swap":1500,"reservation":500}})";
  EXPECT_TEXT(writesOf(all, false),
              "memory/memory.limit_in_bytes=1000 memory/memory.memsw.limit_in_bytes=1500 "
              "memory/memory.soft_limit_in_bytes=500");
  EXPECT_TEXT(writesOf(all, true), "memory/memory.low=500 memory/memory.swap.max=500 memory/memory.max=1000");
  EXPECT_TEXT(writesOf(R"({"memory":{"limit":-1}})", true), "memory/?memory.swap.max=max memory/memory.max=max");
  EXPECT_TEXT(writesOf(R"({"memory":{"limit":1000,"swap":10}})", false), "! /memory/swap must not be below limit");
  EXPECT_TEXT(writesOf(R"({"memory":{"swap":10}})", true), "! /memory/swap needs a memory limit");
  EXPECT_TEXT(writesOf(R"({"memory":{"swappiness":10}})", true), "! /memory/swappiness does not exist in cgroup v2");
}

TEST(pidsIoDevicesAndPages) {
  EXPECT_TEXT(writesOf(R"({"pids":{"limit":-1}})", false), "pids/pids.max=max");
  EXPECT_TEXT(writesOf(R"({"pids":{"limit":7}})", true), "pids/pids.max=7");
  EXPECT_TEXT(writesOf(R"({"pids":{"limit":0}})", true), "pids/pids.max=1");
  const char* network = R"({"network":{"classID":5,"priorities":[{"name":"eth0","priority":2}]}})";
  EXPECT_TEXT(writesOf(network, false), "net_cls/net_cls.classid=5 net_prio/net_prio.ifpriomap=eth0 2");
  EXPECT_TEXT(writesOf(network, true), "! /network does not exist in cgroup v2");
  EXPECT_TEXT(writesOf(R"({"rdma":{"mlx5_0":{"hcaHandles":3,"hcaObjects":4}}})", true),
              "rdma/rdma.max=mlx5_0 hca_handle=3 hca_object=4");
  EXPECT_TEXT(writesOf(R"({"rdma":{"mlx5_0":{}}})", true), "! /rdma/mlx5_0 limits nothing");
  const char* io = R"({"blockIO":{"weight":100,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000}]}})";
  EXPECT_TEXT(writesOf(io, false),
              "blkio/blkio.bfq.weight|blkio.weight=100 blkio/blkio.throttle.read_bps_device=8:0 1000");
  EXPECT_TEXT(writesOf(io, true), "io/io.bfq.weight|io.weight=100|910 io/io.max=8:0 rbps=1000");
  const char* weights = R"({"blockIO":{"weightDevice":[{"major":8,"minor":1,"weight":500}]}})";
  EXPECT_TEXT(writesOf(weights, true), "io/io.bfq.weight=8:1 500");
  EXPECT_TEXT(writesOf(weights, false), "blkio/blkio.bfq.weight_device|blkio.weight_device=8:1 500");
  const char* devices = R"({"devices":[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]})";
  EXPECT_TEXT(writesOf(devices, false).substr(0, 97),
              "devices/devices.deny=a devices/devices.allow=c 1:3 rwm devices/devices.allow=c *:* m "
              "devices/devi");
  // Each device once, however often it is allowed; without a rule for all, what was there before decides.
  const char* twice = R"({"devices":[{"allow":true,"type":"c","major":9,"minor":1,"access":"r"},{"allow":false},
      {"allow":true,"type":"c","major":1,"minor":3,"access":"r"},{"allow":true,"type":"c","major":1,"minor":3,"access":"w"}]})";
  const std::string once = writesOf(twice, false);
  EXPECT_TEXT(once.substr(0, 62), "devices/devices.deny=a devices/devices.allow=c 1:3 rwm devices");
  EXPECT(once.find("9:1") == std::string::npos && once.find("1:3", 50) == std::string::npos);
  const char* open = R"({"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}]})";
  EXPECT_TEXT(writesOf(open, false).substr(0, 35), "devices/devices.allow=c 1:3 r devic");
  EXPECT_TEXT(writesOf(devices, true), "");
  EXPECT_TEXT(writesOf(R"({"devices":[{"allow":true,"type":"x"}]})", false), "! /devices/0/type must be a, b or c");
  EXPECT_TEXT(writesOf(R"({"hugepageLimits":[{"pageSize":"2MB","limit":4}]})", true),
              "hugetlb/hugetlb.2MB.max=4 hugetlb/?hugetlb.2MB.rsvd.max=4");
  EXPECT_TEXT(writesOf(R"({"hugepageLimits":[{"pageSize":"../x","limit":4}]})", true),
              "! /hugepageLimits/0/pageSize is no page size");
  EXPECT_TEXT(writesOf(R"({"unified":{"memory.high":"5"}})", true), "unified/memory.high=5");
  EXPECT_TEXT(writesOf(R"({"unified":{"../x.y":"5"}})", true), "! /unified/..~1x.y is no file of a cgroup controller");
  EXPECT_TEXT(writesOf(R"({"unified":{"memory.high":"5"}})", false), "! /unified needs a host with cgroup v2 only");
}

}  // namespace
}  // namespace bulkhead
