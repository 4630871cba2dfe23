internal import CLinux
internal import Glibc
internal import NetmapCore

/// The buffers of a region, mapped into this process while it registers them.
///
/// This process never reads them.
@unsafe
struct RegisteredMemory {
  let base: UnsafeMutableRawPointer
  private let byteCount: Int

  /// - Returns: Nil for anything but a memfd of a fixed size that contains the given range.
  init?(_ file: CInt, _ memory: OpenerRequest.Memory) {
    // On any other kind of file F_GET_SEALS is an error. It never waits.
    let seals = fcntl(file, CInt(CLINUX_F_GET_SEALS), 0)
    let fixed = CInt(CLINUX_F_SEAL_SHRINK | CLINUX_F_SEAL_GROW)
    var status = stat()
    guard seals >= 0, seals & fixed == fixed, unsafe fstat(file, &status) == 0,
      status.st_size >= 0,
      // With huge pages the mapping would be longer than requested, and munmap of the requested
      // length would fail.
      clinux_is_tmpfs(file) != 0,
      memory.offset <= UInt64(status.st_size),
      memory.byteCount <= UInt64(status.st_size) - memory.offset,
      let base = unsafe mmap(
        nil, Int(memory.byteCount), PROT_READ | PROT_WRITE, MAP_SHARED, file,
        off_t(memory.offset)), unsafe base != MAP_FAILED
    else { return nil }
    unsafe self.base = unsafe base
    unsafe byteCount = Int(memory.byteCount)
  }

  func end() -> Bool { unsafe munmap(base, byteCount) == 0 }
}
