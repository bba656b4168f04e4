// cuda/runtime.h over the CUDA runtime, which is linked statically: the library needs nothing but the driver.
#include <cuda_runtime.h>

#include "core/error.h"
#include "cuda/cuda_error.h"
#include "cuda/runtime.h"

namespace moescope::cuda {

namespace {

cudaStream_t stream_of(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle()); }
cudaEvent_t event_of(const Event& event) { return static_cast<cudaEvent_t>(event.handle()); }

// 13.0 as 13000.
constexpr int kNeededCuda = CUDART_VERSION / 1000 * 1000;

void check_driver() {
  int version = 0;
  check_cuda(cudaDriverGetVersion(&version), "asking for the driver's version");
  if (version == 0) {
    fail(ErrorCode::Unsupported, "Expected an NVIDIA driver of version ", kNeededDriver,
         " or newer for device cuda, found none.");
  }
  if (version < kNeededCuda) {
    fail(ErrorCode::Unsupported, "Expected an NVIDIA driver of version ", kNeededDriver, " or newer (CUDA ",
         kNeededCuda / 1000, ") for device cuda, found one for CUDA ", version / 1000, ".", version % 1000 / 10, ".");
  }
}

}  // namespace

int device_count() {
  check_driver();
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice) {
    cudaGetLastError();
    return 0;
  }
  check_cuda(status, "counting the cards");
  return count;
}

DeviceProperties device_properties(int device) {
  cudaDeviceProp found;
  check_cuda(cudaGetDeviceProperties(&found, device), "asking for a card's properties");
  DeviceProperties properties;
  properties.name = found.name;
  properties.compute_major = found.major;
  properties.compute_minor = found.minor;
  properties.num_multiprocessors = found.multiProcessorCount;
  properties.l2_bytes = static_cast<size_t>(found.l2CacheSize);
  properties.shared_bytes_per_block = found.sharedMemPerBlockOptin;
  check_cuda(cudaDriverGetVersion(&properties.driver_version), "asking for the driver's version");
  int before = 0;
  check_cuda(cudaGetDevice(&before), "asking for the current card");
  select_device(device);
  const cudaError_t status = cudaMemGetInfo(&properties.free_memory, &properties.total_memory);
  select_device(before);
  check_cuda(status, "asking for a card's memory");
  return properties;
}

void select_device(int device) { check_cuda(cudaSetDevice(device), "selecting a card"); }

DeviceBuffer::DeviceBuffer(size_t bytes) : bytes_(bytes) {
  void* memory = nullptr;
  // Nothing still has an address, so that empty tensors need no case of their own.
  const cudaError_t status = cudaMalloc(&memory, bytes == 0 ? 1 : bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    fail(ErrorCode::OutOfMemory, "Expected ", bytes, " bytes of free memory on the card, got ", free, " of ", total,
         ".");
  }
  check_cuda(status, "allocating memory on the card");
  memory_ = Handle(memory);
}

DeviceBuffer::~DeviceBuffer() {
  if (memory_.get() != nullptr) cudaFree(memory_.get());
}

PinnedBuffer::PinnedBuffer(size_t bytes) : bytes_(bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMallocHost(&memory, bytes == 0 ? 1 : bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail(ErrorCode::OutOfMemory, "The system gives no ", bytes, " bytes of pinned memory.");
  }
  check_cuda(status, "allocating pinned memory");
  memory_ = Handle(memory);
}

PinnedBuffer::~PinnedBuffer() {
  if (memory_.get() != nullptr) cudaFreeHost(memory_.get());
}

Stream::Stream() {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  state_ = Handle(stream);
}

Stream::~Stream() {
  if (state_.get() != nullptr) cudaStreamDestroy(stream_of(*this));
}

void Stream::synchronize() { check_cuda(cudaStreamSynchronize(stream_of(*this)), "waiting for the card"); }

void Stream::wait(const Event& event) {
  check_cuda(cudaStreamWaitEvent(stream_of(*this), event_of(event), 0), "ordering two streams");
}

Event::Event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreate(&event), "creating an event");
  state_ = Handle(event);
}

Event::~Event() {
  if (state_.get() != nullptr) cudaEventDestroy(event_of(*this));
}

void Event::record(Stream& stream) {
  check_cuda(cudaEventRecord(event_of(*this), stream_of(stream)), "recording an event");
}

void Event::synchronize() const { check_cuda(cudaEventSynchronize(event_of(*this)), "waiting for the card"); }

bool Event::is_done() const {
  const cudaError_t status = cudaEventQuery(event_of(*this));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check_cuda(status, "asking for an event");
  return true;
}

double elapsed_ms(const Event& start, const Event& end) {
  float ms = 0;
  check_cuda(cudaEventElapsedTime(&ms, event_of(start), event_of(end)), "measuring time");
  return ms;
}

Graph::~Graph() {
  if (state_.get() != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(state_.get()));
}

void Graph::begin_capture(Stream& stream) {
  check_cuda(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal), "beginning a capture");
}

Graph Graph::end_capture(Stream& stream) {
  cudaGraph_t recorded = nullptr;
  check_cuda(cudaStreamEndCapture(stream_of(stream), &recorded), "ending a capture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, recorded, 0);
  cudaGraphDestroy(recorded);
  check_cuda(status, "making a graph");
  Graph graph;
  graph.state_ = Handle(executable);
  return graph;
}

void Graph::launch(Stream& stream) const {
  check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(state_.get()), stream_of(stream)), "launching a graph");
}

void copy_to_device(Stream& stream, void* device, const void* host, size_t bytes) {
  check_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_of(stream)), "a copy to the card");
}

void copy_to_host(Stream& stream, void* host, const void* device, size_t bytes) {
  check_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_of(stream)), "a copy from the card");
}

void copy_on_device(Stream& stream, void* to, const void* from, size_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(stream)), "a copy on the card");
}

void fill_bytes(Stream& stream, void* device, int value, size_t bytes) {
  check_cuda(cudaMemsetAsync(device, value, bytes, stream_of(stream)), "filling memory on the card");
}

}  // namespace moescope::cuda
