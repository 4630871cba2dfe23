@testable import NetmapRequests

/// A program's address space: a few windows of bytes, in pages that can be unreadable or unwritable.
///
/// There is nothing anywhere else. An access outside the windows fails, as one to a page without permission does.
final class SimulatedMemory: UserMemory {
  enum Page { case writable, readOnly, absent }

  struct Window: Equatable {
    let base: UInt64
    var bytes: [UInt8]
    var pages: [Page]
  }

  /// A copy that the layer made: which bytes, and in which direction.
  struct Copy: Equatable {
    let address: UInt64
    let count: Int
  }

  static let pageByteCount = 256
  /// Where the first window begins.
  static let base: UInt64 = 0x10_0000

  var windows: [Window]
  private(set) var copiesIn: [Copy] = []
  private(set) var copiesOut: [Copy] = []
  /// Runs after each copy from the program: another thread of it.
  var otherThread: ((SimulatedMemory) -> Void)?
  private var free = 64

  /// Creates two windows of zeros, the second of which ends where the address space ends.
  init(byteCount: Int = 64 * 256, lastByteCount: Int = 4 * 256) {
    windows = [(Self.base, byteCount), (0 &- UInt64(lastByteCount), lastByteCount)].map {
      Window(
        base: $0, bytes: [UInt8](repeating: 0, count: $1),
        pages: [Page](repeating: .writable, count: $1 / Self.pageByteCount))
    }
  }

  init(copying other: SimulatedMemory) {
    windows = other.windows
  }

  func copyIn(from address: UInt64, into bytes: inout MutableSpan<UInt8>) -> Bool {
    copiesIn.append(Copy(address: address, count: bytes.count))
    guard let found = bytesAt(address, bytes.count) else { return false }
    for index in bytes.indices { bytes[index] = found[index] }
    otherThread?(self)
    return true
  }

  func copyOut(_ bytes: Span<UInt8>, to address: UInt64) -> Bool {
    copiesOut.append(Copy(address: address, count: bytes.count))
    return put(bytes.indices.map { bytes[$0] }, at: address)
  }

  /// The bytes at an address; nil if one of them cannot be read.
  func bytesAt(_ address: UInt64, _ count: Int) -> [UInt8]? {
    guard let (window, offset) = place(address, count) else { return nil }
    let pages = windows[window].pages[Self.pages(offset, count)]
    return pages.contains(.absent) ? nil : Array(windows[window].bytes[offset..<offset + count])
  }

  /// Writes bytes, as the program or the layer does. Returns false, and writes nothing, if one cannot be written.
  @discardableResult
  func put(_ bytes: [UInt8], at address: UInt64) -> Bool {
    guard let (window, offset) = place(address, bytes.count) else { return false }
    let pages = windows[window].pages[Self.pages(offset, bytes.count)]
    guard pages.allSatisfy({ $0 == .writable }) else { return false }
    windows[window].bytes.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    return true
  }

  /// Changes the page that an address is in, and those of the bytes behind it.
  func protect(_ address: UInt64, _ page: Page, count: Int = 1) {
    guard let (window, offset) = place(address, count) else { return }
    for index in Self.pages(offset, count) { windows[window].pages[index] = page }
  }

  private static func pages(_ offset: Int, _ count: Int) -> Range<Int> {
    count == 0 ? 0..<0 : offset / pageByteCount..<(offset + count - 1) / pageByteCount + 1
  }

  private func place(_ address: UInt64, _ count: Int) -> (window: Int, offset: Int)? {
    for (index, window) in windows.enumerated() {
      let offset = address &- window.base
      let size = UInt64(window.bytes.count)
      if offset < size, UInt64(count) <= size - offset { return (index, Int(offset)) }
    }
    return nil
  }
}

extension SimulatedMemory {
  /// The address of the first byte that differs in a memory with the same windows; nil if none does.
  func firstDifference(from other: SimulatedMemory) -> UInt64? {
    for (one, two) in zip(windows, other.windows) where one.bytes != two.bytes {
      let index = one.bytes.indices.first { one.bytes[$0] != two.bytes[$0] } ?? 0
      return one.base &+ UInt64(index)
    }
    return nil
  }
}

// What a test needs to lay out a request, with the C structures of the ABI.
extension SimulatedMemory {
  /// Reserves bytes in the first window, in pages that hold nothing else.
  func reserve(_ count: Int) -> UInt64 {
    let page = Self.pageByteCount
    free = (free + page - 1) / page * page
    defer { free += count }
    precondition(free + count <= windows[0].bytes.count, "the window is too small for this test")
    return windows[0].base + UInt64(free)
  }

  /// Stores a structure in pages of its own, and returns its address.
  func add<T: BitwiseCopyable>(_ value: T) -> UInt64 {
    let address = reserve(MemoryLayout<T>.size)
    put(value, at: address)
    return address
  }

  func put<T: BitwiseCopyable>(_ value: T, at address: UInt64) {
    let bytes = unsafe withUnsafeBytes(of: value) { unsafe [UInt8]($0) }
    precondition(put(bytes, at: address), "the test writes outside its memory")
  }

  func get<T: BitwiseCopyable>(_ type: T.Type = T.self, at address: UInt64) -> T {
    guard let bytes = bytesAt(address, MemoryLayout<T>.size) else {
      preconditionFailure("the test reads outside its memory")
    }
    return unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: type) }
  }
}
