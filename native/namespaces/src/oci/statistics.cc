#include "oci/statistics.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "cgroup/usage.h"
#include "oci/cgroup_text.h"
#include "oci/document.h"
#include "sys/file.h"

namespace bulkhead::oci {
namespace {

using rapidjson::Document;
using rapidjson::Value;

class Statistics {
 public:
  Statistics(const cgroup::Paths& paths, Document* document) : paths_(paths), document_(document) {}

  Value all();

 private:
  Value object() const { return Value(rapidjson::kObjectType); }
  void set(Value* object, std::string_view name, Value value) const {
    object->AddMember(textValue(name, document_), value, document_->GetAllocator());
  }
  void number(Value* object, std::string_view name, uint64_t value) const { set(object, name, Value(value)); }
  /** The file's number as a member, when there is one. */
  void fromFile(Value* object, const char* name, const std::string* directory, const std::string& file) const {
    uint64_t value = 0;
    if (numberIn(directory, file, &value)) number(object, name, value);
  }
  /** "key value" lines as an object. */
  Value keyed(const std::string& text) const;
  /** Pressure stall information (Documentation/accounting/psi.rst), also where v1 does the accounting. */
  void pressure(Value* object, const char* file) const;

  Value cpu(const cgroup::Usage& usage) const;
  Value memory(const cgroup::Usage& usage) const;
  Value blkio() const;
  Value hugetlb() const;
  Value rdma() const;

  const cgroup::Paths& paths_;
  Document* document_;
};

Value Statistics::keyed(const std::string& text) const {
  Value values = object();
  forEachLine(text, [&](const auto& words) {
    uint64_t value = 0;
    if (words.size() == 2 && sys::parseUnsigned(words[1], UINT64_MAX, &value)) number(&values, words[0], value);
  });
  return values;
}

void Statistics::pressure(Value* target, const char* file) const {
  Value whole = object();
  forEachLine(fileText(paths_.unified(), file), [&](const auto& words) {
    Value share = object();
    for (size_t index = 1; index < words.size(); ++index) {
      const size_t equals = words[index].find('=');
      if (equals == std::string_view::npos) continue;
      const std::string_view name = words[index].substr(0, equals);
      const std::string text(words[index].substr(equals + 1));
      if (name == "total") {
        number(&share, name, strtoull(text.c_str(), nullptr, 10));
      } else {
        set(&share, name, Value(strtod(text.c_str(), nullptr)));
      }
    }
    set(&whole, words[0], std::move(share));
  });
  if (!whole.ObjectEmpty()) set(target, "psi", std::move(whole));
}

Value Statistics::cpu(const cgroup::Usage& usage) const {
  Value times = object();
  number(&times, "total", usage.cpuUsageNs);
  const Value stat = keyed(fileText(paths_.find("cpu"), "cpu.stat"));
  const auto of = [](const Value& from, const char* name) {
    return from.HasMember(name) ? from[name].GetUint64() : uint64_t{0};
  };
  if (paths_.isV2()) {
    number(&times, "kernel", of(stat, "system_usec") * 1000);
    number(&times, "user", of(stat, "user_usec") * 1000);
  } else {
    const Value ticks = keyed(fileText(paths_.find("cpuacct"), "cpuacct.stat"));
    const uint64_t nsPerTick = 1'000'000'000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
    number(&times, "kernel", of(ticks, "system") * nsPerTick);
    number(&times, "user", of(ticks, "user") * nsPerTick);
    Value each(rapidjson::kArrayType);
    forEachLine(fileText(paths_.find("cpuacct"), "cpuacct.usage_percpu"), [&](const auto& words) {
      for (const std::string_view word : words) {
        uint64_t value = 0;
        if (sys::parseUnsigned(word, UINT64_MAX, &value)) each.PushBack(value, document_->GetAllocator());
      }
    });
    set(&times, "percpu", std::move(each));
  }
  Value throttling = object();
  number(&throttling, "periods", of(stat, "nr_periods"));
  number(&throttling, "throttledPeriods", usage.throttledPeriods);
  number(&throttling, "throttledTime", usage.throttledNs);
  Value part = object();
  set(&part, "usage", std::move(times));
  set(&part, "throttling", std::move(throttling));
  pressure(&part, "cpu.pressure");
  return part;
}

Value Statistics::memory(const cgroup::Usage& usage) const {
  const std::string* directory = paths_.find("memory");
  Value used = object();
  number(&used, "usage", usage.memoryBytes);
  number(&used, "max", usage.memoryPeakBytes);
  number(&used, "limit", usage.memoryLimitBytes.value_or(UINT64_MAX));
  number(&used, "failcnt", usage.oomKills);
  Value swap = object();
  fromFile(&swap, "usage", directory, paths_.isV2() ? "memory.swap.current" : "memory.memsw.usage_in_bytes");
  fromFile(&swap, "limit", directory, paths_.isV2() ? "memory.swap.max" : "memory.memsw.limit_in_bytes");
  Value raw = keyed(fileText(directory, "memory.stat"));
  const char* cached = paths_.isV2() ? "file" : "cache";
  Value part = object();
  if (raw.HasMember(cached)) number(&part, "cache", raw[cached].GetUint64());
  set(&part, "usage", std::move(used));
  if (!swap.ObjectEmpty()) set(&part, "swap", std::move(swap));
  set(&part, "raw", std::move(raw));
  pressure(&part, "memory.pressure");
  return part;
}

/** One row per device and direction. */
Value Statistics::blkio() const {
  struct Row {
    const char* key;
    const char* operation;
    Value* list;
  };
  auto& allocator = document_->GetAllocator();
  Value bytes(rapidjson::kArrayType);
  Value operations(rapidjson::kArrayType);
  const auto add = [&](Value* list, std::string_view device, std::string_view operation, std::string_view text) {
    uint64_t major = 0;
    uint64_t minor = 0;
    uint64_t value = 0;
    const size_t colon = device.find(':');
    if (colon == std::string_view::npos || !sys::parseUnsigned(device.substr(0, colon), UINT32_MAX, &major) ||
        !sys::parseUnsigned(device.substr(colon + 1), UINT32_MAX, &minor) ||
        !sys::parseUnsigned(text, UINT64_MAX, &value)) {
      return;
    }
    Value entry = object();
    number(&entry, "major", major);
    number(&entry, "minor", minor);
    set(&entry, "op", textValue(operation, document_));
    number(&entry, "value", value);
    list->PushBack(entry, allocator);
  };
  if (paths_.isV2()) {
    const Row rows[] = {{"rbytes=", "Read", &bytes},
                        {"wbytes=", "Write", &bytes},
                        {"rios=", "Read", &operations},
                        {"wios=", "Write", &operations}};
    forEachLine(fileText(paths_.unified(), "io.stat"), [&](const auto& words) {
      for (const std::string_view word : words) {
        for (const Row& row : rows) {
          if (word.starts_with(row.key)) add(row.list, words[0], row.operation, word.substr(strlen(row.key)));
        }
      }
    });
  } else {
    const auto read = [&](const char* file, Value* list) {
      forEachLine(fileText(paths_.find("blkio"), file), [&](const auto& words) {
        if (words.size() == 3) add(list, words[0], words[1], words[2]);
      });
    };
    read("blkio.throttle.io_service_bytes_recursive", &bytes);
    read("blkio.throttle.io_serviced_recursive", &operations);
  }
  Value part = object();
  set(&part, "ioServiceBytesRecursive", std::move(bytes));
  set(&part, "ioServicedRecursive", std::move(operations));
  pressure(&part, "io.pressure");
  return part;
}

/** By page size, for every size that this kernel has. */
Value Statistics::hugetlb() const {
  Value part = object();
  const std::string* directory = paths_.find("hugetlb");
  if (directory == nullptr) directory = paths_.unified();
  DIR* listing = directory == nullptr ? nullptr : opendir(directory->c_str());
  if (listing == nullptr) return part;
  while (const struct dirent* entry = readdir(listing)) {
    // "hugetlb.2MB.current" of v2, "hugetlb.2MB.usage_in_bytes" of v1
    const std::string_view name = entry->d_name;
    const size_t dot = name.find('.', 8);
    if (!name.starts_with("hugetlb.") || dot == std::string_view::npos) continue;
    const std::string_view kind = name.substr(dot + 1);
    if (kind != "current" && kind != "usage_in_bytes") continue;
    const std::string prefix(name.substr(0, dot + 1));
    const bool v2 = kind == "current";
    Value size = object();
    fromFile(&size, "usage", directory, std::string(name));
    fromFile(&size, v2 ? "limit" : "max", directory, prefix + (v2 ? "max" : "max_usage_in_bytes"));
    const Value events = keyed(fileText(directory, prefix + "events"));
    if (events.HasMember("max")) number(&size, "failcnt", events["max"].GetUint64());
    if (!v2) fromFile(&size, "failcnt", directory, prefix + "failcnt");
    set(&part, name.substr(8, dot - 8), std::move(size));
  }
  closedir(listing);
  return part;
}

Value Statistics::rdma() const {
  Value part = object();
  for (const auto& [name, file] : {std::pair{"current", "rdma.current"}, {"limit", "rdma.max"}}) {
    Value list(rapidjson::kArrayType);
    forEachLine(fileText(paths_.find("rdma"), file), [&](const auto& words) {
      Value device = object();
      set(&device, "device", textValue(words[0], document_));
      for (size_t index = 1; index < words.size(); ++index) {
        uint64_t value = 0;
        const size_t equals = words[index].find('=');
        if (equals == std::string_view::npos) continue;
        const std::string_view key = words[index].substr(0, equals);
        const std::string_view text = words[index].substr(equals + 1);
        if (text != "max" && !sys::parseUnsigned(text, UINT32_MAX, &value)) continue;
        number(&device, key == "hca_handle" ? "hcaHandles" : "hcaObjects", text == "max" ? UINT32_MAX : value);
      }
      list.PushBack(device, document_->GetAllocator());
    });
    if (!list.Empty()) set(&part, name, std::move(list));
  }
  return part;
}

Value Statistics::all() {
  const cgroup::Usage usage = cgroup::readUsage(paths_);
  Value pids = object();
  number(&pids, "current", usage.pids);
  number(&pids, "limit", cgroup::readLimits(paths_).pidsMax.value_or(0));
  Value data = object();
  set(&data, "cpu", cpu(usage));
  set(&data, "memory", memory(usage));
  set(&data, "pids", std::move(pids));
  set(&data, "blkio", blkio());
  set(&data, "hugetlb", hugetlb());
  Value remote = rdma();
  if (!remote.ObjectEmpty()) set(&data, "rdma", std::move(remote));
  return data;
}

}  // namespace

Value statistics(const cgroup::Paths& paths, Document* document) {
  return Statistics(paths, document).all();
}

}  // namespace bulkhead::oci
