import Glibc
import NetmapCore

/// Memory that ends at a page without access, so that a read or a write past the end is fatal.
@safe
struct GuardedBytes: ~Copyable {
  private let start: UnsafeMutableRawPointer
  private static let page = 4096
  /// Bytes before the page without access.
  private static let capacity = 16 * page

  /// - Throws: ``NetmapError`` when no memory is left.
  init() throws(NetmapError) {
    guard
      let start = unsafe mmap(
        nil, Self.capacity + Self.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      unsafe start != MAP_FAILED, unsafe mprotect(start + Self.capacity, Self.page, PROT_NONE) == 0
    else { throw systemError("mmap", "\(Self.capacity + Self.page) bytes") }
    unsafe self.start = unsafe start
  }

  deinit { unsafe munmap(start, Self.capacity + Self.page) }

  /// Passes a copy of `bytes` to `body` that ends where the accessible memory ends.
  mutating func with<Result>(
    _ bytes: some Collection<UInt8>, _ body: (inout MutableRawSpan) -> Result
  ) -> Result {
    precondition(bytes.count <= Self.capacity)
    var span = unsafe MutableRawSpan(
      _unsafeStart: start + Self.capacity - bytes.count, byteCount: bytes.count)
    for (place, byte) in bytes.enumerated() {
      span.storeBytes(of: byte, toByteOffset: place, as: UInt8.self)
    }
    return body(&span)
  }
}
