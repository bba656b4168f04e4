import { Directory, OpenFile, wasi } from "@bjorn3/browser_wasi_shim";

/** Files and folders together: each is an object of ours. */
const MOST_FILES = 4096;

/**
 * The file system's imports with limits: all files together, linked or only open, have at most `fileBytes`, and so many may be open.
 *
 * @param {Record<string, (...args: any[]) => any>} imports
 * @param {import("@bjorn3/browser_wasi_shim").WASI} host
 * @param {import("@bjorn3/browser_wasi_shim").PreopenDirectory} root
 * @param {{ fileBytes: number, openFiles: number }} limits
 */
export function boundedFiles(imports, host, root, { fileBytes, openFiles }) {
  const open = () => host.fds.filter((fd) => fd !== undefined);
  /** Whether the open file may have this many bytes. Others are let through: they refuse by themselves. */
  const hasRoom = (descriptor, size) => {
    const file = host.fds[descriptor] instanceof OpenFile ? host.fds[descriptor].file : undefined;
    if (file === undefined || size <= file.data.byteLength) return true;
    const files = inodesOf(root.dir);
    for (const fd of open()) if (fd instanceof OpenFile) files.add(fd.file);
    let total = size - file.data.byteLength;
    for (const { data } of files) total += data?.byteLength ?? 0;
    return total <= fileBytes;
  };
  const lengthOf = (vectors, count) => {
    const view = new DataView(host.inst.exports.memory.buffer);
    let length = 0;
    for (let i = 0; i < count && length <= fileBytes; i++) length += view.getUint32(vectors + 8 * i + 4, true);
    return length;
  };
  const canCreate = () => inodesOf(root.dir).size < MOST_FILES;
  return {
    ...imports,
    fd_write(fd, vectors, count, written) {
      const position = host.fds[fd] instanceof OpenFile ? Number(host.fds[fd].file_pos) : 0;
      if (!hasRoom(fd, position + lengthOf(vectors, count))) return wasi.ERRNO_NOSPC;
      return imports.fd_write(fd, vectors, count, written);
    },
    fd_pwrite(fd, vectors, count, offset, written) {
      if (!hasRoom(fd, Number(offset) + lengthOf(vectors, count))) return wasi.ERRNO_NOSPC;
      return imports.fd_pwrite(fd, vectors, count, offset, written);
    },
    fd_allocate(fd, offset, length) {
      return hasRoom(fd, Number(offset) + Number(length)) ? imports.fd_allocate(fd, offset, length) : wasi.ERRNO_NOSPC;
    },
    fd_filestat_set_size(fd, size) {
      return hasRoom(fd, Number(size)) ? imports.fd_filestat_set_size(fd, size) : wasi.ERRNO_NOSPC;
    },
    path_create_directory(...args) {
      return canCreate() ? imports.path_create_directory(...args) : wasi.ERRNO_NOSPC;
    },
    path_open(fd, dirFlags, path, pathLength, openFlags, ...rest) {
      if (open().length >= openFiles) return wasi.ERRNO_MFILE;
      if ((openFlags & wasi.OFLAGS_CREAT) !== 0 && !canCreate()) return wasi.ERRNO_NOSPC;
      return imports.path_open(fd, dirFlags, path, pathLength, openFlags, ...rest);
    },
  };
}

/** @param {Directory} root */
function inodesOf(root) {
  const found = new Set();
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of folder.contents.values()) {
      if (found.has(entry)) continue;
      found.add(entry);
      if (entry instanceof Directory) folders.push(entry);
    }
  }
  return found;
}
