/// What the two ends of a memif interface do.
struct MemifJob {
  enum Shape: String {
    case pipe, forward
  }

  /// The ends of a memif interface. The client owns the packets' memory, so with zero-copy only the client saves a copy.
  enum Role: String {
    case client, server
  }

  let shape: Shape
  /// The sending end in the shape `pipe`.
  private(set) var sender = Role.client
  /// Packets per burst.
  private(set) var burst = 32
  private(set) var frameBytes = 60

  static let usage =
    "usage: testpmd-peer memif pipe|forward [--sender client|server] [--burst N] [--frame-bytes N]"

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    guard let shape = rest.popFirst().flatMap(Shape.init) else { throw PeerError(Self.usage) }
    self.shape = shape
    while let name = rest.popFirst() {
      let value = rest.popFirst() ?? ""
      switch (name, Int(value)) {
      case ("--sender", _) where Role(rawValue: value) != nil:
        sender = Role(rawValue: value) ?? .client
      case ("--burst", .some(let count)) where (1...512).contains(count): burst = count
      case ("--frame-bytes", .some(let count)) where (60...1514).contains(count):
        frameBytes = count
      default: throw PeerError("\(name) \(value)?\n\(Self.usage)")
      }
    }
  }

  var description: String {
    switch shape {
    case .pipe: "zero-copy, \(sender) sends, burst \(burst), \(HugePages.description)"
    case .forward: "zero-copy, burst \(burst), \(HugePages.description)"
    }
  }
}
