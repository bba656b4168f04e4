#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace moescope {

namespace {

ErrorCode code_of_errno(int number) {
  if (number == ENOENT || number == ENOTDIR) return ErrorCode::NotFound;
  if (number == EACCES || number == EPERM) return ErrorCode::NoPermission;
  if (number == ENOMEM) return ErrorCode::OutOfMemory;
  return ErrorCode::BadFile;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail(code_of_errno(errno), "Could not open ", path, ": ", std::strerror(errno), ".");
  struct stat status {};
  const bool regular = fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular || status.st_size <= 0) {
    close(descriptor_);
    fail(ErrorCode::BadFile, "Expected a regular, non-empty file at ", path, ".");
  }
  size_ = static_cast<size_t>(status.st_size);
  void* mapping = mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (mapping == MAP_FAILED) {
    const int number = errno;
    close(descriptor_);
    fail(code_of_errno(number), "Could not map ", path, " (", size_, " bytes): ", std::strerror(number), ".");
  }
  data_ = static_cast<const std::byte*>(mapping);
}

MappedFile::~MappedFile() {
  munmap(const_cast<std::byte*>(data_), size_);
  close(descriptor_);
}

}  // namespace moescope
