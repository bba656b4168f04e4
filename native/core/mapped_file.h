// A file mapped read-only. The descriptor stays open and the size is taken once; a file that shrinks afterwards is the operator's
// doing (SIGBUS), a file that is too short for its tensors is refused before any of them is touched.
#pragma once

#include <cstddef>
#include <string>

namespace moescope {

class MappedFile {
 public:
  explicit MappedFile(const std::string& path);  // NotFound, NoPermission, BadFile, OutOfMemory
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace moescope
