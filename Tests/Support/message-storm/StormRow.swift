import Glibc
import StormAttack

/// The numbers of one kind of peer.
struct StormRow {
  var peer: StormPeer
  var seed: UInt64
  /// The first episode that has not been made.
  var nextEpisode: UInt64 = 0
  var messages: UInt64 = 0
  var connections: UInt64 = 0
  var descriptors: UInt64 = 0
  var answers: UInt64 = 0
  var refusals: UInt64 = 0
  var deaths: UInt64 = 0
  var stops: UInt64 = 0
  var forks: UInt64 = 0
  var hangs: UInt64 = 0
  /// A member's longest wait for an answer, and the same in the run without an attack, nanoseconds.
  var worstAnswer: UInt64 = 0
  var controlAnswer: UInt64 = 0
  /// The longest time for which a bystander got no packet, and the part without waits for a CPU, nanoseconds.
  var gap: UInt64 = 0
  var hold: UInt64 = 0
  var controlGap: UInt64 = 0
  var controlHold: UInt64 = 0
  /// The opener's longest time for a request, nanoseconds.
  var openerTime: UInt64 = 0
  var memoryBefore: UInt64 = 0
  var memoryAfter: UInt64 = 0
  var seconds: UInt64 = 0
  var failure: String?

  init(_ peer: StormPeer, seed: UInt64) {
    (self.peer, self.seed) = (peer, seed)
  }

  private nonisolated(unsafe) static let fields:
    [(name: String, path: WritableKeyPath<StormRow, UInt64>)] = [
      ("seed", \.seed), ("next-episode", \.nextEpisode), ("messages", \.messages),
      ("connections", \.connections), ("descriptors", \.descriptors), ("answers", \.answers),
      ("refusals", \.refusals), ("deaths", \.deaths), ("stops", \.stops), ("forks", \.forks),
      ("hanging-files", \.hangs), ("worst-answer-ns", \.worstAnswer),
      ("control-answer-ns", \.controlAnswer), ("gap-ns", \.gap), ("hold-ns", \.hold),
      ("control-gap-ns", \.controlGap), ("control-hold-ns", \.controlHold),
      ("opener-ns", \.openerTime), ("memory-before", \.memoryBefore),
      ("memory-after", \.memoryAfter),
      ("seconds", \.seconds),
    ]

  mutating func add(_ board: StormBoard) {
    messages += board.sum(.messages)
    connections += board.sum(.connections)
    descriptors += board.sum(.descriptors)
    answers += board.sum(.answers)
    refusals += board.sum(.refusals)
    deaths += board.sum(.deaths)
    stops += board.sum(.stops)
    forks += board.sum(.forks)
    hangs += board.sum(.hangs)
    openerTime = max(openerTime, board[LoneOpener.slot, .worstAnswer])
  }

  // MARK: - Progress

  func save(in folder: String) throws {
    mkdir(folder, 0o755)
    let text = Self.fields.map { "\($0.name)=\(self[keyPath: $0.path])\n" }.joined()
    let (path, new) = ("\(folder)/\(peer.rawValue)", "\(folder)/\(peer.rawValue).new")
    let file = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    defer { close(file) }
    let bytes = Array(text.utf8)
    guard file >= 0, write(file, bytes, bytes.count) == bytes.count, rename(new, path) == 0 else {
      throw StormError("\(path): errno \(errno)")
    }
  }

  /// The state of the last run; nil when there is none.
  init?(_ peer: StormPeer, in folder: String) {
    let file = open("\(folder)/\(peer.rawValue)", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(file, &bytes, bytes.count)
    self.init(peer, seed: 0)
    for line in String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
    {
      let sides = line.split(separator: "=")
      guard sides.count == 2, let value = UInt64(sides[1]),
        let field = Self.fields.first(where: { $0.name == sides[0] })
      else { continue }
      self[keyPath: field.path] = value
    }
  }

  // MARK: - Output

  static let heading = """
    | peer | messages | connections | descriptors | answers | worst answer | control | worst gap | control \
    | worst hold | control | memory |
    |---|---|---|---|---|---|---|---|---|---|---|---|
    """

  var line: String {
    let cells = [
      peer.rawValue, Self.grouped(messages), Self.grouped(connections), Self.grouped(descriptors),
      Self.grouped(answers), Self.milliseconds(worstAnswer), Self.milliseconds(controlAnswer),
      Self.milliseconds(gap), Self.milliseconds(controlGap), Self.milliseconds(hold),
      Self.milliseconds(controlHold),
      "\(Self.mebibytes(memoryBefore)) to \(Self.mebibytes(memoryAfter)) MiB",
    ]
    return "| " + cells.joined(separator: " | ") + " |"
  }

  var json: String {
    let numbers = Self.fields.map { "\"\($0.name)\":\(self[keyPath: $0.path])" }
    let text = (failure ?? "").unicodeScalars.map { scalar in
      scalar == "\"" || scalar == "\\" ? "\\\(scalar)" : scalar.value < 32 ? "\\n" : "\(scalar)"
    }.joined()
    return "{\"peer\":\"\(peer.rawValue)\"," + numbers.joined(separator: ",")
      + (failure == nil ? "}" : ",\"failure\":\"\(text)\"}")
  }

  static func milliseconds(_ nanoseconds: UInt64) -> String {
    "\(nanoseconds / 1_000_000).\(nanoseconds / 100_000 % 10) ms"
  }

  private static func mebibytes(_ bytes: UInt64) -> String {
    "\(bytes >> 20).\((bytes & 0xfffff) * 10 >> 20)"
  }

  private static func grouped(_ number: UInt64) -> String {
    var digits = Array("\(number)")
    var place = digits.count - 3
    while place > 0 {
      digits.insert(" ", at: place)
      place -= 3
    }
    return String(digits)
  }
}
