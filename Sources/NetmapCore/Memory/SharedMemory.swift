internal import CLinux
internal import Glibc

/// One memfd and this process's mapping of it: the owner that every view of the memory depends on.
///
/// The size is fixed at creation and sealed, so that no process can shrink the file under another
/// one's mapping (a truncated mapping ends its readers with SIGBUS).
@safe
package final class SharedMemory: Sendable {
  /// The first byte of this process's mapping; page aligned.
  package nonisolated(unsafe) let base: UnsafeMutableRawPointer

  /// Bytes mapped; a multiple of the page size.
  package let byteCount: Int

  /// The memfd, -1 when it was not kept. Close-on-exec, owned by this object.
  package let descriptor: CInt

  /// Creates zero-filled memory of at least `byteCount` bytes.
  ///
  /// Pages are taken from the host only when they are first touched.
  ///
  /// - Parameters:
  ///   - name: A label shown in `/proc/self/maps`; at most 249 bytes.
  ///   - byteCount: The size wanted, rounded up to whole pages.
  ///   - writableByOthers: Whether whoever is given the memfd may map it for writing.
  /// - Throws: ``NetmapError`` with the `errno` of `memfd_create`, `ftruncate` or `mmap`.
  package init(
    creating name: String, byteCount: Int, writableByOthers: Bool = true
  ) throws(NetmapError) {
    let size = pageRounded(byteCount)
    let file = unsafe memfd_create(name, UInt32(CLINUX_MFD_CLOEXEC | CLINUX_MFD_ALLOW_SEALING))
    guard file >= 0 else {
      throw systemError("memfd_create", name, remedy: "raise the limit of open files (ulimit -n)")
    }
    guard ftruncate(file, size) == 0 else {
      let error = systemError("ftruncate", "\(name) (\(size) bytes)", remedy: "ask for less memory")
      close(file)
      throw error
    }
    guard let mapping = unsafe Self.map(file, byteCount: size) else {
      let error = systemError("mmap", "\(name) (\(size) bytes)", remedy: "ask for less memory")
      close(file)
      throw error
    }
    // After the mapping: it is the last one that may write, where others may not.
    var seals = CLINUX_F_SEAL_SHRINK | CLINUX_F_SEAL_GROW | CLINUX_F_SEAL_SEAL
    if !writableByOthers { seals |= CLINUX_F_SEAL_FUTURE_WRITE }
    _ = fcntl(file, CInt(CLINUX_F_ADD_SEALS), CInt(seals))
    unsafe base = mapping
    self.byteCount = size
    descriptor = file
  }

  /// Maps memory that another process (or another part of this one) created.
  ///
  /// - Parameters:
  ///   - file: A memfd; duplicated, so the caller keeps its own.
  ///   - readOnly: Whether a write shall fault: for memory that is sealed against others' writes.
  ///   - keepsDescriptor: Whether anybody will want ``descriptor``. The mapping needs none.
  /// - Throws: ``NetmapError`` with the `errno` of `fcntl`, `fstat` or `mmap`.
  package init(
    attaching file: CInt, readOnly: Bool = false, keepsDescriptor: Bool = true
  ) throws(NetmapError) {
    let copy = fcntl(file, CInt(CLINUX_F_DUPFD_CLOEXEC), 0)
    guard copy >= 0 else { throw systemError("fcntl(F_DUPFD_CLOEXEC)", "descriptor \(file)") }
    var status = stat()
    guard unsafe fstat(copy, &status) == 0, status.st_size > 0 else {
      let error = systemError("fstat", "descriptor \(file)")
      close(copy)
      throw error
    }
    guard
      let mapping = unsafe Self.map(copy, byteCount: Int(status.st_size), readOnly: readOnly)
    else {
      let error = systemError("mmap", "descriptor \(file) (\(status.st_size) bytes)")
      close(copy)
      throw error
    }
    unsafe base = mapping
    byteCount = Int(status.st_size)
    if !keepsDescriptor { close(copy) }
    descriptor = keepsDescriptor ? copy : -1
  }

  deinit {
    unsafe munmap(base, byteCount)
    if descriptor >= 0 { close(descriptor) }
  }

  private static func map(
    _ file: CInt, byteCount: Int, readOnly: Bool = false
  ) -> UnsafeMutableRawPointer? {
    let access = readOnly ? PROT_READ : PROT_READ | PROT_WRITE
    let mapping = unsafe mmap(nil, byteCount, access, MAP_SHARED, file, 0)
    return unsafe mapping == MAP_FAILED ? nil : mapping
  }
}

extension SharedMemory {
  /// Reads plain data at a byte offset; traps when it does not lie in the memory.
  package func load<T: BitwiseCopyable>(at offset: Int, as type: T.Type) -> T {
    check(offset, MemoryLayout<T>.size)
    return unsafe base.loadUnaligned(fromByteOffset: offset, as: type)
  }

  /// Writes plain data at a byte offset; traps when it does not lie in the memory.
  package func store<T: BitwiseCopyable>(_ value: T, at offset: Int) {
    check(offset, MemoryLayout<T>.size)
    unsafe base.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  /// Fills `count` bytes with zeros.
  package func clear(at offset: Int, count: Int) {
    check(offset, count)
    unsafe (base + offset).initializeMemory(as: UInt8.self, repeating: 0, count: count)
  }

  private func check(_ offset: Int, _ count: Int) {
    precondition(
      offset >= 0 && count >= 0 && offset <= byteCount - count, "offset outside shared memory")
  }
}

/// The size of a memory page, in bytes.
package let pageSize = Int(sysconf(CInt(_SC_PAGESIZE)))

/// `byteCount` rounded up to whole pages.
package func pageRounded(_ byteCount: Int) -> Int {
  rounded(byteCount, to: pageSize)
}

/// `value` rounded up to a multiple of `unit`, a power of two.
package func rounded(_ value: Int, to unit: Int) -> Int {
  (value + unit - 1) & ~(unit - 1)
}
