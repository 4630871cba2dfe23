import CTrace
import Glibc
import NetmapCore
import ProcessFiles
import TableSupport

/// Memory that other processes can write, in a second mapping of this process.
///
/// Accesses through the second mapping are not those of the operation, and no watch reports them.
@safe
final class RacedMemory {
  let name: String
  /// The addresses of the first byte that the operation uses: one for each mapping.
  private(set) var bases: [UInt]
  let memory: SharedMemory
  /// The state at the beginning of each operation.
  private var snapshot: [UInt8] = []
  /// What is restored before each operation.
  private var blocks: [Block] = []
  /// The blocks that operations have changed.
  private var changing: [Block] = []
  /// The contents of populated pages, for memory with buffers.
  private var pages: [Int: [UInt8]] = [:]

  private struct Block {
    let offset: Int
    let byteCount: Int
    /// The offset in the snapshot.
    var place = 0
    var isChanging = false
  }

  private static let blockByteCount = 256

  init(_ name: String, at base: UInt, _ memory: SharedMemory) {
    (self.name, bases, self.memory) = (name, [base], memory)
  }

  /// All memory that this process has mapped for writing and shares with others, without that of the bystanders.
  static func all() throws -> [RacedMemory] {
    var result: [RacedMemory] = []
    for line in ProcessFiles.text("/proc/self/maps").split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard words.count >= 6, words[1] == "rw-s", words[5].hasPrefix("/memfd:netmap-"),
        !words[5].contains(RaceBystanders.mark),
        words[5] != "/memfd:netmap-\(RaceBystanders.switchName)",
        words[5] != "/memfd:netmap-directory"
      else { continue }
      let file = unsafe open("/proc/self/map_files/\(words[0])", O_RDWR | O_CLOEXEC)
      guard file >= 0 else { throw TableError("map_files: errno \(errno)") }
      defer { close(file) }
      guard let base = UInt(words[0].split(separator: "-")[0], radix: 16) else { continue }
      let memory = try SharedMemory(mapping: file)
      if let known = result.first(where: { $0.memory.identity == memory.identity }) {
        known.bases.append(base)
      } else {
        result.append(
          RacedMemory(String(words[5].dropFirst("/memfd:netmap-".count)), at: base, memory))
      }
    }
    return result
  }

  // MARK: - Words

  /// The value of a word of 1, 2, 4 or 8 bytes.
  func load(_ offset: Int, _ width: Int) -> UInt64 {
    let address = unsafe memory.base + offset
    return switch width {
    case 1: UInt64(unsafe address.load(as: UInt8.self))
    case 2: UInt64(unsafe address.load(as: UInt16.self))
    case 4: UInt64(unsafe address.load(as: UInt32.self))
    default: unsafe address.load(as: UInt64.self)
    }
  }

  func store(_ value: UInt64, _ offset: Int, _ width: Int) {
    let address = unsafe memory.base + offset
    switch width {
    case 1: unsafe address.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
    case 2: unsafe address.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
    case 4: unsafe address.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
    default: unsafe address.storeBytes(of: value, as: UInt64.self)
    }
  }

  // MARK: - State

  /// Notes the present contents of some ranges, which ``restore(all:)`` brings back.
  func note(_ ranges: [Range<Int>]) {
    blocks = ranges.flatMap { range in
      stride(from: range.lowerBound, to: range.upperBound, by: Self.blockByteCount).map {
        Block(offset: $0, byteCount: min(Self.blockByteCount, range.upperBound - $0))
      }
    }
    snapshot = blocks.flatMap { block in
      unsafe Array(
        UnsafeRawBufferPointer(start: memory.base + block.offset, count: block.byteCount))
    }
    var place = 0
    for index in blocks.indices {
      blocks[index].place = place
      place += blocks[index].byteCount
    }
    changing = []
  }

  /// Brings back what was noted.
  ///
  /// - Parameter all: Whether to look at all blocks, and not only at those that operations have changed so far.
  func restore(all: Bool) {
    unsafe snapshot.withUnsafeBytes { bytes in
      guard let noted = bytes.baseAddress else { return }
      if all {
        for index in blocks.indices {
          let block = blocks[index]
          let (now, was) = unsafe (memory.base + block.offset, noted + block.place)
          guard unsafe memcmp(now, was, block.byteCount) != 0 else { continue }
          unsafe memcpy(now, was, block.byteCount)
          guard !block.isChanging else { continue }
          blocks[index].isChanging = true
          changing.append(block)
        }
      } else {
        for block in changing {
          unsafe memcpy(memory.base + block.offset, noted + block.place, block.byteCount)
        }
      }
    }
  }

  /// Notes the contents of all pages that exist.
  func notePages() {
    pages = [:]
    for page in existingPages() {
      pages[page] = unsafe Array(UnsafeRawBufferPointer(start: memory.base + page, count: 4096))
    }
  }

  /// Compares all pages that exist with the noted ones, and restores them.
  ///
  /// - Parameter mayChange: Whether the byte at an offset may have changed.
  /// - Returns: The first byte that has changed and may not; nil when there is none.
  func firstChange(except mayChange: (Int) -> Bool) -> Int? {
    var result: Int?
    let zeros = [UInt8](repeating: 0, count: 4096)
    for page in existingPages() {
      let was = pages[page] ?? zeros
      let now = unsafe memory.base + page
      unsafe was.withUnsafeBytes { bytes in
        guard let noted = bytes.baseAddress, unsafe memcmp(now, noted, 4096) != 0 else {
          return
        }
        for place in 0..<4096 where result == nil {
          let byte = unsafe now.load(fromByteOffset: place, as: UInt8.self)
          if unsafe byte != bytes[place], !mayChange(page + place) { result = page + place }
        }
        unsafe memcpy(now, noted, 4096)
      }
    }
    return result
  }

  private func existingPages() -> [Int] {
    var result: [Int] = []
    var offset = 0
    while true {
      let start = lseek(memory.descriptor, offset, SEEK_DATA)
      guard start >= 0 else { return result }
      let end = lseek(memory.descriptor, start, SEEK_HOLE)
      result += stride(from: start, to: end, by: 4096)
      offset = end
    }
  }
}
