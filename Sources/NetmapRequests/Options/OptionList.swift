/// The options of a request, copied out of the program's memory.
///
/// The options lie one after the other in a buffer that has the size of netmap's own, because the size decides how
/// many options a request can have: a body of `b` bytes leaves room for 4144 - `b` bytes, and an option takes 32 bytes
/// and its own body.
struct OptionList: ~Copyable {
  /// Where an option lies in the buffer: the address that the program gave, the header, the body.
  struct Entry {
    let start: Int

    static let headerOffset = 8
    /// The bytes before an option's body.
    static let byteCount = headerOffset + RequestLayout.Option.byteCount

    var header: Int { start + Self.headerOffset }
    var body: Int { start + Self.byteCount }
  }

  /// netmap's buffer of 4208 bytes, without two addresses and a table of six options.
  static let byteCountMax = 4144
  /// The longest option, and the longest request with all its options but not the addresses: `NETMAP_REQ_MAXSIZE`.
  static let requestByteCountMax = 4096

  var buffer = ByteBlock<4144>()
  /// How many bytes of the buffer hold options.
  var used = 0
  /// The option of each known type, in the order of ``OptionType``.
  private var entries = InlineArray<6, Entry?>(repeating: nil)

  /// Creates an empty list.
  init() {}

  subscript(type: OptionType) -> Entry? {
    get { entries[Int(type.rawValue)] }
    set { entries[Int(type.rawValue)] = newValue }
  }
}

// Fields of options.
extension OptionList {
  private typealias Layout = RequestLayout.Option

  /// Where the program has the option.
  func address(_ entry: Entry) -> UInt64 { buffer.load(entry.start) }

  /// `nro_next`: where the program has the next option; 0 at the end of the list.
  func next(_ entry: Entry) -> UInt64 { buffer.load(entry.header + Layout.next) }

  func rawType(_ entry: Entry) -> UInt32 { buffer.load(entry.header + Layout.type) }

  /// The option's type; nil if it is unknown.
  func type(_ entry: Entry) -> OptionType? { OptionType(rawValue: rawType(entry)) }

  /// `nro_size`, as the program gave it.
  func size(_ entry: Entry) -> UInt64 { buffer.load(entry.header + Layout.size) }

  func status(_ entry: Entry) -> OptionStatus {
    OptionStatus(rawValue: buffer.load(entry.header + Layout.status))
  }

  mutating func store(_ status: OptionStatus, _ entry: Entry) {
    buffer.store(status.rawValue, at: entry.header + Layout.status)
  }

  /// The part of the buffer that holds the option's body. Empty for an unknown option, and for the last option if its
  /// body has not been copied.
  func bodyRange(_ entry: Entry) -> Range<Int> {
    let length = type(entry)?.bodyByteCount(size: size(entry)) ?? 0
    guard length <= UInt64(used - entry.body) else { return entry.body..<entry.body }
    return entry.body..<entry.body + Int(length)
  }
}

// The options in the program's order.
extension OptionList {
  var first: Entry? { used == 0 ? nil : Entry(start: 0) }

  func following(_ entry: Entry) -> Entry? {
    let end = bodyRange(entry).upperBound
    return end < used ? Entry(start: end) : nil
  }

  /// Whether an option is of a type that register requests do not use.
  var hasForeign: Bool {
    var next = first
    while let entry = next {
      switch type(entry) {
      case .externalMemory, .offsets, .controlBlocks: next = following(entry)
      case .eventDescriptors, .loopMode, nil: return true
      }
    }
    return false
  }

  mutating func storeForAll(_ status: OptionStatus) {
    var next = first
    while let entry = next {
      store(status, entry)
      next = following(entry)
    }
  }
}
