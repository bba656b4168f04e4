// The device as host code sees it: memory, streams, events, graphs. Two implementations: runtime_cuda.cu over the CUDA runtime, and
// native/test/emulator/runtime_emulated.cpp. What goes wrong is a core Error, OutOfMemory or Unsupported where that is the cause,
// and stays one: no call ends the process. Work on a stream is under way until the stream or a later event of it was waited for.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "cuda/global.h"

namespace moescope::cuda {

struct DeviceProperties {
  std::string name;
  int compute_major = 0, compute_minor = 0;
  int num_multiprocessors = 0;
  size_t total_memory = 0, free_memory = 0;  // bytes
  size_t l2_bytes = 0;
  size_t shared_bytes_per_block = 0;  // the most that a kernel may opt into
  int driver_version = 0;             // 1000 * major + 10 * minor of the CUDA version that the driver knows
};

// Cards that can be used; 0 where the driver finds none. Unsupported, in one sentence, where the driver is missing or too old.
int device_count();
DeviceProperties device_properties(int device);
// Later calls of this thread mean that device.
void select_device(int device);

// A handle of the implementation that moves and never copies.
class Handle {
 public:
  Handle() = default;
  explicit Handle(void* value) : value_(value) {}
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  void* get() const { return value_; }

 private:
  void* value_ = nullptr;
};

// Device memory of a fixed size, aligned to 256 bytes, its contents unspecified.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&&) = default;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  size_t bytes() const { return bytes_; }
  void* data() const { return memory_.get(); }
  template <typename T>
  Global<T> as() const {
    return Global<T>(static_cast<T*>(memory_.get()));
  }

 private:
  Handle memory_;
  size_t bytes_ = 0;
};

// Host memory that copies reach without a detour.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&&) = default;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(memory_.get());
  }

 private:
  Handle memory_;
  size_t bytes_ = 0;
};

class Event;

class Stream {
 public:
  Stream();
  ~Stream();
  Stream(Stream&&) = default;
  Stream& operator=(Stream&&) = default;

  // Waits for all that was enqueued; throws what went wrong in it.
  void synchronize();
  // What is enqueued from now on runs after the event's place in its stream.
  void wait(const Event& event);
  void* handle() const { return state_.get(); }

 private:
  Handle state_;
};

class Event {
 public:
  Event();
  ~Event();
  Event(Event&&) = default;
  Event& operator=(Event&&) = default;

  // Marks the place in the stream that is reached now.
  void record(Stream& stream);
  void synchronize() const;
  // Whether that place has been passed, without waiting.
  bool is_done() const;
  void* handle() const { return state_.get(); }

 private:
  Handle state_;
};

// Milliseconds on the device between two recorded events.
double elapsed_ms(const Event& start, const Event& end);

// Launches and copies recorded once and replayed with the same parameters. Nothing may be waited for between begin and end.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = default;

  static void begin_capture(Stream& stream);
  static Graph end_capture(Stream& stream);
  void launch(Stream& stream) const;

 private:
  Handle state_;
};

// Enqueued; host memory must stay as it is until the stream has come so far.
void copy_to_device(Stream& stream, void* device, const void* host, size_t bytes);
void copy_to_host(Stream& stream, void* host, const void* device, size_t bytes);
void copy_on_device(Stream& stream, void* to, const void* from, size_t bytes);
void fill_bytes(Stream& stream, void* device, int value, size_t bytes);

}  // namespace moescope::cuda
