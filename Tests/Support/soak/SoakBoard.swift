import Glibc
import Synchronization

/// Words of 64 bits in a file that all processes of a soak map, and that outlives each of them.
///
/// A process may be killed between any two stores here, so a count of several words has two versions and a word that
/// selects one of them.
@safe
final class SoakBoard: Sendable {
  /// The most stations of a soak.
  static let stations = 32
  private static let words = 32_768
  private static let textOffset = words * 8
  private static let byteCount = words * 8 + 8192

  let path: String
  private nonisolated(unsafe) let memory: UnsafeMutableRawPointer

  /// - Parameters:
  ///   - path: The file.
  ///   - isNew: Whether to create it.
  /// - Throws: ``SoakError``.
  init(_ path: String, isNew: Bool = false) throws {
    self.path = path
    let file = unsafe open(path, O_RDWR | O_CLOEXEC | (isNew ? O_CREAT : 0), 0o600)
    guard file >= 0, !isNew || ftruncate(file, Self.byteCount) == 0 else {
      throw SoakError("\(path): errno \(errno)")
    }
    defer { close(file) }
    let memory = unsafe mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      throw SoakError("\(path): mmap: errno \(errno)")
    }
    unsafe self.memory = memory
  }

  subscript(index: Int) -> UInt64 {
    get { unsafe word(index).pointee.load(ordering: .acquiring) }
    set { unsafe word(index).pointee.store(newValue, ordering: .releasing) }
  }

  private func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(index >= 0 && index < Self.words, "no such word")
    return unsafe (memory + 8 * index).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  // MARK: - The soak

  enum Phase: UInt64 {
    case run = 0
    /// Senders send what is in their rings, and no more.
    case drain = 1
    case end = 2
  }

  var phase: Phase {
    get { Phase(rawValue: self[0]) ?? .end }
    set { self[0] = newValue.rawValue }
  }

  /// The time at which a deliberate mistake is due, monotonic nanoseconds; 0 for none.
  var faultTime: UInt64 {
    get { self[1] }
    set { self[1] = newValue }
  }

  /// The text of the last error of a process.
  var text: String {
    get {
      let bytes = unsafe UnsafeRawBufferPointer(
        start: memory + Self.textOffset, count: Self.byteCount - Self.textOffset)
      return unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    set {
      let bytes = Array(newValue.utf8.prefix(Self.byteCount - Self.textOffset - 1)) + [0]
      for (index, byte) in bytes.enumerated() {
        unsafe memory.storeBytes(of: byte, toByteOffset: Self.textOffset + index, as: UInt8.self)
      }
    }
  }

  // MARK: - Stations

  /// A word of a station.
  enum Word: Int {
    /// The number of the process that plays the station; a later process has a higher one.
    case incarnation
    /// How many packets the process has put in its ring, at most.
    case staged
    /// How many packets it had put in its ring before its last finished sync.
    case confirmed
    /// ``State``.
    case state
    /// Other counts of a process.
    case count, count2, count3
    /// When the process began what it does, monotonic nanoseconds; 0 while it does nothing that could hang.
    case since
    /// The ``since`` of a round trip whose packets its process sends again.
    case again = 14
  }

  enum State: UInt64 {
    case starting, ready, drained
  }

  subscript(station: Int, word: Word) -> UInt64 {
    get { self[64 + station * 16 + word.rawValue] }
    set { self[64 + station * 16 + word.rawValue] = newValue }
  }

  /// Counts one open of a kind, below 16. The cells lie at the same place: a soak of opens has none.
  func countOpen(_ station: Int, _ kind: Int) { self[Self.cells + station * 16 + kind] += 1 }

  /// The number of opens since the last call.
  func takeOpens(_ station: Int, _ kind: Int) -> UInt64 {
    let count = self[Self.cells + station * 16 + kind]
    self[Self.cells + station * 16 + kind] = 0
    return count
  }

  /// Counts one round trip of a length: below 0.1, 1, 10, 100 and 1000 ms, and longer.
  func addToHistogram(_ station: Int, _ place: Int) {
    self[64 + station * 16 + 8 + place] += 1
  }

  func histogram(_ station: Int) -> [UInt64] { (0..<6).map { self[64 + station * 16 + 8 + $0] } }

  func state(of station: Int) -> State { State(rawValue: self[station, .state]) ?? .starting }

  // MARK: - Cells

  /// What a station has received from another one.
  struct Cell: Hashable {
    /// The sender's incarnation from which packets arrived last.
    var incarnation: UInt64 = 0
    /// The number of packets of that incarnation.
    var count: UInt64 = 0
    /// The number of its last packet, plus one.
    var end: UInt64 = 0
    /// The number of packets of earlier incarnations.
    var before: UInt64 = 0

    var total: UInt64 { before &+ count }
  }

  private static let cells = 1024
  private static let cellWords = 9

  private func place(_ receiver: Int, _ sender: Int) -> Int {
    Self.cells + (receiver * Self.stations + sender) * Self.cellWords
  }

  /// The cell of a receiver and a sender. A store takes effect at once or not at all.
  subscript(receiver: Int, from sender: Int) -> Cell {
    get {
      let place = place(receiver, sender)
      let version = place + 1 + 4 * Int(self[place] & 1)
      return Cell(
        incarnation: self[version], count: self[version + 1], end: self[version + 2],
        before: self[version + 3])
    }
    set {
      let place = place(receiver, sender)
      let other = self[place] & 1 ^ 1
      let version = place + 1 + 4 * Int(other)
      self[version] = newValue.incarnation
      self[version + 1] = newValue.count
      self[version + 2] = newValue.end
      self[version + 3] = newValue.before
      self[place] = other
    }
  }
}
