// Preloaded into a simulated process: the classes of CANN's graph engine (namespace ge) that MindSpore fills with data and
// reads back when it plans an operator at simulation level 1. Nothing is computed: values are kept, and an attribute never
// set reads as unset.
//
// MindSpore is linked against these symbols, so names, signatures and sizes are CANN's; strings have the old ABI
// (-D_GLIBCXX_USE_CXX11_ABI=0). EMIT makes the compiler write out a function although nothing here calls it.

#include <any>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>
#include <unistd.h>

#define EMIT __attribute__((used))

namespace ge {

using Status = unsigned int;
using Bytes = const uint8_t *;
using Text = std::string;
using Dims = std::vector<int64_t>;
enum DataType : int {};
enum Format : int {};

class AscendString {
 public:
  AscendString() = default;
  EMIT AscendString(const char *text) : text_(std::make_shared<Text>(text ? text : "")) {}
  EMIT const char *GetString() const { return text_ ? text_->c_str() : ""; }

 private:
  std::shared_ptr<Text> text_;
};

class Shape {
 public:
  EMIT Shape() : dims_(std::make_shared<Dims>()) {}
  EMIT explicit Shape(const Dims &dims) : dims_(std::make_shared<Dims>(dims)) {}
  EMIT int64_t GetDim(size_t i) const { return i < dims_->size() ? (*dims_)[i] : 0; }
  EMIT Dims GetDims() const { return *dims_; }
  EMIT size_t GetDimNum() const { return dims_->size(); }
  EMIT Status SetDim(size_t i, int64_t size) {
    if (i < dims_->size()) (*dims_)[i] = size;
    return 0;
  }

 private:
  std::shared_ptr<Dims> dims_;
};

struct Description {
  Shape shape;
  Format format{};
  DataType type{};
};

class TensorDesc {
 public:
  EMIT TensorDesc() : kept_(std::make_shared<Description>()) {}
  EMIT TensorDesc(Shape shape, Format format, DataType type)
      : kept_(std::make_shared<Description>(Description{shape, format, type})) {}
  EMIT TensorDesc(const TensorDesc &other) : kept_(std::make_shared<Description>(*other.kept_)) {}
  EMIT TensorDesc(TensorDesc &&other) : kept_(std::move(other.kept_)) {}
  TensorDesc &operator=(const TensorDesc &other) {
    *kept_ = *other.kept_;
    return *this;
  }
  EMIT void SetDataType(DataType type) { kept_->type = type; }
  EMIT void SetShape(const Shape &shape) { kept_->shape = shape; }
  EMIT void SetFormat(Format format) { kept_->format = format; }
  EMIT void SetOriginShape(const Shape &) {}
  EMIT void SetOriginFormat(Format) {}
  EMIT void SetRealDimCnt(int64_t) {}
  EMIT DataType GetDataType() const { return kept_->type; }
  EMIT Shape GetShape() const { return kept_->shape; }
  EMIT Format GetFormat() const { return kept_->format; }

 private:
  std::shared_ptr<Description> kept_;
};

struct Content {
  TensorDesc description;
  std::vector<uint8_t> bytes;
};

class Tensor {
 public:
  EMIT Tensor() : kept_(std::make_shared<Content>()) {}
  EMIT explicit Tensor(const TensorDesc &description) : Tensor(description, nullptr, 0) {}
  EMIT Tensor(const TensorDesc &description, Bytes data, size_t size) : Tensor() {
    kept_->description = description;
    if (data) kept_->bytes.assign(data, data + size);
  }
  EMIT Status SetData(Bytes data, size_t size) { return Keep(data, size); }
  EMIT Status SetData(uint8_t *data, size_t size, const std::function<void(uint8_t *)> &) { return Keep(data, size); }
  EMIT Status SetData(const Text &text) { return Keep(reinterpret_cast<Bytes>(text.data()), text.size()); }
  EMIT Status SetData(const std::vector<Text> &) { return 0; }
  EMIT uint8_t *GetData() { return kept_->bytes.data(); }
  EMIT size_t GetSize() const { return kept_->bytes.size(); }
  EMIT TensorDesc GetTensorDesc() const { return kept_->description; }

 private:
  Status Keep(Bytes data, size_t size) {
    kept_->bytes.assign(data, data + size);
    return 0;
  }
  std::shared_ptr<Content> kept_;
};

struct Node {
  Text name, type;
  std::map<Text, std::any> attributes;
};

// MindSpore links to one overload a type; they differ in nothing else.
#define SET_BY_POINTER(T) \
  EMIT Operator &SetAttr(const char *name, T value) { return Set(name, value); }
#define SET_BY_TEXT(T) \
  EMIT Operator &SetAttr(const Text &name, T value) { return Set(name, value); }
#define REGISTER(T) \
  EMIT void AttrRegister(const char *name, T value) { Set(name, value); }
#define GET_BY_POINTER(T) \
  EMIT Status GetAttr(const char *name, T &value) const { return Get(name, value); }
#define GET_BY_TEXT(T) \
  EMIT Status GetAttr(const Text &name, T &value) const { return Get(name, value); }
#define NUMBERS(X) X(bool) X(float) X(int64_t) X(const std::vector<float> &) X(const Dims &)
#define LISTS(X) X(int32_t) X(const std::vector<int32_t> &)
#define TENSORS(X) X(const Tensor &) X(const DataType &) X(const std::vector<DataType> &) X(const std::vector<Dims> &)
#define TEXTS(X) X(const Text &) X(const std::vector<Text> &) X(const std::vector<bool> &)
#define DECLARED(X) X(const AscendString &) X(const std::vector<AscendString> &) X(const DataType &)
#define VALUES(X) \
  X(bool) X(float) X(int32_t) X(int64_t) X(std::vector<float>) X(std::vector<int32_t>) X(Dims) X(Tensor) X(DataType) \
      X(std::vector<DataType>) X(std::vector<Dims>)

class Operator {
 public:
  Operator() = default;
  Operator(const Operator &) = default;
  EMIT virtual ~Operator() = default;
  EMIT explicit Operator(const Text &type) { At().type = type; }
  EMIT Operator(const Text &name, const Text &type) : Operator(type) { At().name = name; }
  EMIT Operator(const AscendString &name, const AscendString &type)
      : Operator(Text(name.GetString()), Text(type.GetString())) {}

  NUMBERS(SET_BY_POINTER) LISTS(SET_BY_POINTER) TENSORS(SET_BY_POINTER)
  NUMBERS(SET_BY_TEXT) LISTS(SET_BY_TEXT) TEXTS(SET_BY_TEXT)
  NUMBERS(REGISTER) DECLARED(REGISTER)
  VALUES(GET_BY_POINTER)
  GET_BY_TEXT(Text) GET_BY_TEXT(std::vector<Text>)

  EMIT Status GetName(AscendString &name) const { return name = AscendString(At().name.c_str()), 0; }
  EMIT Status GetOpType(AscendString &type) const { return type = AscendString(At().type.c_str()), 0; }
  EMIT Text GetName() const { return At().name; }
  EMIT Text GetOpType() const { return At().type; }
  EMIT int GetDynamicOutputNum(const Text &) const { return 1; }
  EMIT Operator &SetInput(const char *, const Operator &) { return *this; }
  EMIT Operator &SetInput(const char *, uint32_t, const Operator &) { return *this; }
  EMIT Operator &SetInput(const char *, uint32_t, const Operator &, const char *) { return *this; }
  EMIT Operator &SetInput(const Text &, const Operator &) { return *this; }

 private:
  Node &At() const {
    if (!node_) node_ = std::make_shared<Node>();
    return *node_;
  }
  template <class T>
  Operator &Set(const Text &name, const T &value) {
    At().attributes[name] = value;
    return *this;
  }
  template <class T>
  Status Get(const Text &name, T &value) const {
    auto found = At().attributes.find(name);
    if (found != At().attributes.end()) {
      if (auto same_type = std::any_cast<T>(&found->second)) value = *same_type;
    }
    return 0;
  }
  mutable std::shared_ptr<Node> node_;
};

class OperatorFactory {
 public:
  EMIT static Operator CreateOperator(const char *name, const char *type) {
    return Operator(Text(name ? name : ""), Text(type ? type : ""));
  }
  EMIT static Operator CreateOperator(const Text &name, const Text &type) { return Operator(name, type); }
  EMIT static bool IsExistOp(const char *) { return true; }
  EMIT static bool IsExistOp(const Text &) { return true; }
};

}  // namespace ge

namespace mindspore::device::ascend {

// Replaces the function of this name in MindSpore, which returns at once where the device's own would wait: the thread
// that asks for reports would keep a core busy for as long as the process lives.
template <class T>
T SimuFuncIaclrtProcessReport(int) {
  usleep(100'000);
  return T();
}
template int SimuFuncIaclrtProcessReport<int>(int);

}  // namespace mindspore::device::ascend
