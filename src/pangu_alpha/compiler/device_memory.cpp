// Preloaded into a rehearsed process: a memory for the device that MindSpore plays at simulation level 1.
//
// There, MindSpore gives out addresses without memory, and this function, through which every copy goes, returns at once:
// after the first step all parameters read as zeros. Here what is copied to an address is what is read back from it.
// Kernels still compute nothing, so parameters keep what they were given, to the bit, and results of a step are zeros.
//
// The name and the signature are MindSpore's, with strings of the old ABI (-D_GLIBCXX_USE_CXX11_ABI=0).

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

constexpr uint64_t kResultBytes = 8;  // loss and norm: what a kernel has computed, where an input may have been before

enum aclrtMemcpyKind : int { kHostToHost, kHostToDevice, kDeviceToHost, kDeviceToDevice };

namespace mindspore::device {
class DeviceAddress;

namespace ascend {
class AscendResManager {
 public:
  bool BaseCopy(void *to, const void *from, uint64_t size, aclrtMemcpyKind kind, size_t stream,
                std::shared_ptr<DeviceAddress>) const;
};

struct Kept {
  uint64_t size;
  std::vector<char> bytes;  // none where all are 0, as gradient sums and moments begin
};

static std::map<const void *, std::shared_ptr<const Kept>> memory;
static std::mutex access;

static std::shared_ptr<const Kept> Keep(const char *from, uint64_t size) {
  auto is_zero = size == 0 || (from[0] == 0 && std::memcmp(from, from + 1, size - 1) == 0);
  return std::make_shared<const Kept>(Kept{size, is_zero ? std::vector<char>() : std::vector<char>(from, from + size)});
}

static std::shared_ptr<const Kept> Find(const void *address) {
  auto found = memory.find(address);
  return found == memory.end() ? nullptr : found->second;
}

bool AscendResManager::BaseCopy(void *to, const void *from, uint64_t size, aclrtMemcpyKind kind, size_t,
                                std::shared_ptr<DeviceAddress>) const {
  std::lock_guard<std::mutex> guard(access);
  if (kind == kHostToHost) {
    std::memcpy(to, from, size);
  } else if (kind == kHostToDevice) {
    memory[to] = Keep(static_cast<const char *>(from), size);
  } else if (kind == kDeviceToDevice) {
    if (auto kept = Find(from)) memory[to] = kept;
  } else {
    auto kept = size > kResultBytes ? Find(from) : nullptr;
    auto known = kept == nullptr ? 0 : std::min<uint64_t>(size, kept->bytes.size());
    if (known) std::memcpy(to, kept->bytes.data(), known);
    std::memset(static_cast<char *>(to) + known, 0, size - known);
  }
  return true;
}
}  // namespace ascend
}  // namespace mindspore::device
