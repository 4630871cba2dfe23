internal import CLinux
internal import Glibc

/// A memfd and this process's mapping of it: the owner that every view of the memory depends on.
///
/// The creator fixes and seals the size, so that no process can shrink the file under another process's mapping
/// (reading beyond the end of a shrunk file raises SIGBUS). Memory without the seal is never mapped.
@safe
package final class SharedMemory: Sendable {
  /// The first byte of this process's mapping; page aligned.
  package nonisolated(unsafe) let base: UnsafeMutableRawPointer

  /// Bytes mapped: for memory that this class created, a multiple of the page size.
  package let byteCount: Int

  /// The memfd; -1 if this object did not keep it.
  ///
  /// Close-on-exec, owned by this object.
  package var descriptor: CInt { file?.descriptor ?? -1 }
  private let file: OwnedFile?

  /// The identity of the memory: equal for all mappings of the same memory.
  package let identity: Identity

  /// The file behind a mapping.
  ///
  /// The kernel does not reuse the number while the file exists.
  package struct Identity: Hashable, Sendable {
    package let device: UInt64
    package let file: UInt64
  }

  /// Creates zero-filled memory of at least `byteCount` bytes.
  ///
  /// The kernel allocates pages only when they are first touched.
  ///
  /// - Parameters:
  ///   - name: A label shown in `/proc/self/maps`; at most 249 bytes.
  ///   - byteCount: The size wanted, rounded up to whole pages.
  ///   - writableByOthers: Whether other processes that receive the memfd may map it for writing.
  /// - Throws: ``NetmapError`` with the `errno` of `memfd_create`, `ftruncate`, `mmap` or `fcntl`.
  package init(
    creating name: String, byteCount: Int, writableByOthers: Bool = true
  ) throws(NetmapError) {
    let size = pageRounded(byteCount)
    let made = unsafe memfd_create(name, UInt32(CLINUX_MFD_CLOEXEC | CLINUX_MFD_ALLOW_SEALING))
    guard made >= 0 else {
      throw systemError("memfd_create", name, remedy: "raise the limit of open files (ulimit -n)")
    }
    let file = OwnedFile(made)
    guard ftruncate(made, size) == 0 else {
      throw systemError("ftruncate", "\(name) (\(size) bytes)", remedy: "ask for less memory")
    }
    identity = try Self.examine(made, name).identity
    guard let mapping = unsafe Self.map(made, byteCount: size) else {
      throw systemError("mmap", "\(name) (\(size) bytes)", remedy: "ask for less memory")
    }
    // Sealed after the mapping, which is the last one that may write if `writableByOthers` is false.
    var seals = CLINUX_F_SEAL_SHRINK | CLINUX_F_SEAL_GROW | CLINUX_F_SEAL_SEAL
    if !writableByOthers { seals |= CLINUX_F_SEAL_FUTURE_WRITE }
    guard fcntl(made, CInt(CLINUX_F_ADD_SEALS), CInt(seals)) == 0 else {
      let error = systemError(
        "fcntl(F_ADD_SEALS)", name,
        remedy: "use Linux 5.1 or later, where netmap can seal its memory")
      unsafe Self.unmap(mapping, byteCount: size)
      throw error
    }
    unsafe base = mapping
    self.byteCount = size
    self.file = file
  }

  /// Maps memory that another process (or another part of this process) created.
  ///
  /// - Parameters:
  ///   - file: A memfd that cannot be shrunk (`F_SEAL_SHRINK`). The object duplicates it; the caller keeps the
  ///     original.
  ///   - readOnly: Whether to map without write access, for memory that is sealed against writes by other
  ///     processes.
  ///   - keepsDescriptor: Whether to keep ``descriptor``. The mapping itself needs none.
  /// - Throws: ``NetmapError`` with the `errno` of `fcntl`, `fstat` or `mmap`; `EINVAL` when the memory lacks the
  ///   seal.
  package init(
    mapping file: CInt, readOnly: Bool = false, keepsDescriptor: Bool = true
  ) throws(NetmapError) {
    let subject = "descriptor \(file)"
    let copy = OwnedFile(try OwnedFile.duplicate(file))
    let seals = fcntl(copy.descriptor, CInt(CLINUX_F_GET_SEALS), 0)
    guard seals >= 0, seals & CInt(CLINUX_F_SEAL_SHRINK) != 0 else {
      // A process that can shrink the memory can kill every process that maps it, with SIGBUS.
      throw NetmapError(
        .invalidArgument, "attach", subject,
        reason: "it is not memory of fixed size (F_SEAL_SHRINK)",
        remedy: "pass memory that netmap made, or seal the memory")
    }
    // The seal guarantees that the size stays the same from here on.
    let (byteCount, identity) = try Self.examine(copy.descriptor, subject)
    guard
      let mapping = unsafe Self.map(copy.descriptor, byteCount: byteCount, readOnly: readOnly)
    else { throw systemError("mmap", "\(subject) (\(byteCount) bytes)") }
    unsafe base = mapping
    self.byteCount = byteCount
    self.identity = identity
    self.file = keepsDescriptor ? copy : nil
  }

  /// Creates zero-filled memory that no other process can map, and that needs no descriptor.
  ///
  /// - Parameter byteCount: The size wanted, rounded up to whole pages; above 0.
  /// - Throws: ``NetmapError`` with the `errno` of `mmap`.
  package init(private byteCount: Int) throws(NetmapError) {
    let size = pageRounded(byteCount)
    let mapping = unsafe Self.map(-1, byteCount: size, flags: MAP_ANONYMOUS | MAP_NORESERVE)
    guard let mapping = unsafe mapping else {
      throw systemError("mmap", "private memory (\(size) bytes)")
    }
    unsafe base = mapping
    self.byteCount = size
    identity = Identity(device: .max, file: UInt64(UInt(bitPattern: mapping)))
    file = nil
  }

  deinit {
    unsafe Self.unmap(base, byteCount: byteCount)
  }

  /// Bytes of addresses without memory on each side of a mapping.
  ///
  /// A length of a slot has 16 bits. So an access from inside the memory to any byte within that distance of its ends
  /// ends the process instead of reaching another mapping.
  private static let guardByteCount = 65_536

  private static func reservedByteCount(_ byteCount: Int) -> Int {
    pageRounded(byteCount) + 2 * guardByteCount
  }

  private static func unmap(_ mapping: UnsafeMutableRawPointer, byteCount: Int) {
    unsafe munmap(mapping - guardByteCount, reservedByteCount(byteCount))
  }

  private static func map(
    _ file: CInt, byteCount: Int, flags: CInt = 0, readOnly: Bool = false
  ) -> UnsafeMutableRawPointer? {
    let access = readOnly ? PROT_READ : PROT_READ | PROT_WRITE
    let reserved = unsafe mmap(
      nil, reservedByteCount(byteCount), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1, 0)
    guard let reserved = unsafe reserved, unsafe reserved != MAP_FAILED else { return nil }
    let mapping = unsafe reserved + guardByteCount
    guard
      unsafe mmap(mapping, byteCount, access, MAP_SHARED | MAP_FIXED | flags, file, 0) != MAP_FAILED
    else {
      let code = errno
      unsafe munmap(reserved, reservedByteCount(byteCount))
      errno = code
      return nil
    }
    guard hasRoom() else {
      unsafe unmap(mapping, byteCount: byteCount)
      errno = ENOMEM
      return nil
    }
    return unsafe mapping
  }

  /// Whether address space is left beside a mapping, which may have taken nearly all that the process may have
  /// (`RLIMIT_AS`). Small objects come next, and Swift ends a process that has no room for one.
  private static func hasRoom() -> Bool {
    let byteCount = 2 << 20
    let probe = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard unsafe probe != MAP_FAILED else { return false }
    unsafe munmap(probe, byteCount)
    return true
  }

  /// Size and identity of a file.
  ///
  /// - Throws: ``NetmapError`` of `fstat`, or `EINVAL` for an empty file.
  private static func examine(
    _ file: CInt, _ subject: String
  ) throws(NetmapError) -> (byteCount: Int, identity: Identity) {
    var status = stat()
    guard unsafe fstat(file, &status) == 0 else { throw systemError("fstat", subject) }
    guard status.st_size > 0 else {
      throw NetmapError(.invalidArgument, "attach", subject, reason: "the memory is empty")
    }
    return (
      Int(status.st_size),
      Identity(device: UInt64(status.st_dev), file: UInt64(status.st_ino))
    )
  }
}

extension SharedMemory {
  /// Reads plain data at a byte offset; traps when the data would lie outside the memory.
  package func load<T: BitwiseCopyable>(at offset: Int, as type: T.Type) -> T {
    check(offset, MemoryLayout<T>.size)
    return unsafe base.loadUnaligned(fromByteOffset: offset, as: type)
  }

  /// Writes plain data at a byte offset; traps when the data would lie outside the memory.
  package func store<T: BitwiseCopyable>(_ value: T, at offset: Int) {
    check(offset, MemoryLayout<T>.size)
    unsafe base.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  /// Fills `count` bytes with zeros.
  package func clear(at offset: Int, count: Int) {
    check(offset, count)
    unsafe (base + offset).initializeMemory(as: UInt8.self, repeating: 0, count: count)
  }

  /// The bytes of a range, which other processes may be changing; traps when it is not inside the memory.
  package func bytes(at offset: Int, count: Int) -> [UInt8] {
    check(offset, count)
    return unsafe [UInt8](UnsafeRawBufferPointer(start: base + offset, count: count))
  }

  /// Writes bytes at an offset; traps when they would lie outside the memory.
  package func write(_ bytes: [UInt8], at offset: Int) {
    check(offset, bytes.count)
    unsafe bytes.withUnsafeBytes { source in
      guard let start = source.baseAddress else { return }
      unsafe (base + offset).copyMemory(from: start, byteCount: source.count)
    }
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
