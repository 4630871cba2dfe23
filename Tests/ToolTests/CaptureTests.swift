internal import Foundation
internal import Glibc
internal import NetmapTestSupport
internal import Testing

@Suite("netmap capture")
struct CaptureTests {
  /// A block of a pcapng file.
  private struct Block {
    let kind: UInt32
    let body: [UInt8]

    func word(_ place: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(body[place + $1]) << (8 * $1) }
    }

    /// The options from a place on, by code.
    func options(from start: Int) -> [UInt16: [UInt8]] {
      var result: [UInt16: [UInt8]] = [:]
      var place = start
      while place + 4 <= body.count {
        let (code, count) = (UInt16(word(place) & 0xffff), Int(word(place) >> 16))
        if code == 0 { break }
        result[code] = Array(body[(place + 4)..<(place + 4 + count)])
        place += 4 + (count + 3) / 4 * 4
      }
      return result
    }
  }

  /// Reads a file, and checks that each block says its length at both ends.
  private static func blocks(_ path: String) throws -> [Block] {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let whole = Block(kind: 0, body: bytes)
    var result: [Block] = []
    var place = 0
    while place < bytes.count {
      let length = Int(whole.word(place + 4))
      try #require(length >= 12 && length % 4 == 0 && place + length <= bytes.count)
      #expect(Int(whole.word(place + length - 4)) == length)
      result.append(
        Block(kind: whole.word(place), body: Array(bytes[(place + 8)..<(place + length - 4)])))
      place += length
    }
    return result
  }

  /// A program that sends 2000 packets a second; it ends with the value.
  private final class Sender {
    private let program: TestProgram

    /// Waits until the port is open, too.
    init(_ port: String) throws {
      program = try Command.netmap.start(
        "pkt-gen", "-i", port, "-f", "tx", "-R", "2000", "-l", "80")
      program.drain()
      let deadline = Date().addingTimeInterval(60)
      while Date() < deadline {
        let probe = try Command.netmap.run("capture", port, "-w", "/dev/null", "--count", "1")
        if probe.status == 0 { return }
        #expect(probe.errors.contains("no program has the port open"))
        usleep(100_000)
      }
      Issue.record("pkt-gen has not opened \(port)")
    }

    func end() {
      program.send(SIGKILL)
      _ = program.wait()
    }
  }

  @Test("packets of another program's port are in the file, with time, direction and drops")
  func file() throws {
    let folder = try TemporaryFolder()
    let file = folder.path + "/packets.pcapng"
    let sender = try Sender("vale9:capture")
    defer { sender.end() }
    let outcome = try Command.netmap.run(
      "capture", "vale9:capture", "-w", file, "--count", "20", "--direction", "sent")
    #expect(outcome.status == 0)
    #expect(outcome.errors.contains("20 packets captured"))
    let blocks = try Self.blocks(file)
    try #require(blocks.count == 23)
    #expect(blocks.map(\.kind) == [0x0a0d_0d0a, 1] + Array(repeating: 6, count: 20) + [5])
    #expect(blocks[0].word(0) == 0x1a2b_3c4d)
    #expect(blocks[1].word(0) == 1, "Ethernet")
    #expect(blocks[1].options(from: 8)[9] == [9], "nanoseconds")
    #expect(blocks[1].options(from: 8)[2] == Array("vale9:capture".utf8))
    let now = UInt64(Date().timeIntervalSince1970)
    for block in blocks[2..<22] {
      #expect(block.word(12) == 80 && block.word(16) == 80)
      let seconds = (UInt64(block.word(4)) << 32 | UInt64(block.word(8))) / 1_000_000_000
      #expect((now - 600...now + 1).contains(seconds))
      #expect(block.options(from: 20 + 80)[2] == [2, 0, 0, 0], "outbound")
      #expect(Array(block.body[20 + 12..<20 + 14]) == [8, 0], "pkt-gen sends IPv4")
    }
    let statistics = blocks[22].options(from: 12)
    #expect(
      statistics[1].map { String(decoding: $0, as: UTF8.self) }?.hasPrefix("dropped: ") == true)
    #expect(statistics[4]?.count == 8 && statistics[5]?.count == 8)
  }

  @Test(
    "control-C, and the end of the port, end a capture with a whole file", arguments: [true, false])
  func ends(withSignal isSignal: Bool) throws {
    let folder = try TemporaryFolder()
    let file = folder.path + "/packets.pcapng"
    let port = "vale9:ends\(isSignal ? 1 : 2)"
    let sender = try Sender(port)
    let capture = try Command.netmap.start("capture", port, "-w", file, "--json")
    // Until some packets are in the file.
    let deadline = Date().addingTimeInterval(60)
    while Date() < deadline,
      ((try? Data(contentsOf: URL(fileURLWithPath: file)))?.count ?? 0) < 1000
    {
      usleep(10_000)
    }
    if isSignal { capture.send(SIGINT) } else { sender.end() }
    let outcome = capture.end()
    if isSignal { sender.end() }
    #expect(outcome.status == 0)
    let report = try #require(
      JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
    #expect(report["end"] as? String == (isSignal ? "signal" : "closed"))
    #expect(report["port"] as? String == port)
    let blocks = try Self.blocks(file)
    let packets = blocks.count { $0.kind == 6 }
    #expect(report["packets"] as? Int == packets)
    #expect(report["bytes"] as? Int == 80 * packets)
    #expect(report["dropped"] as? Int == (report["reasons"] as? [String: Int])?.values.reduce(0, +))
    #expect(blocks.last?.kind == 5)
  }

  @Test("standard output gets the same file")
  func standardOutput() throws {
    let sender = try Sender("vale9:output")
    defer { sender.end() }
    let folder = try TemporaryFolder()
    let file = folder.path + "/packets.pcapng"
    let outcome = try TestProgram(
      [
        "/bin/sh", "-c",
        "exec '\(Command.netmap.path)' capture vale9:output -w - -c 5 --json > '\(file)'",
      ], environment: Command.environment, separatesErrors: true
    ).end()
    #expect(outcome.status == 0)
    #expect(outcome.errors.contains("\"packets\":5,"))
    #expect(try Self.blocks(file).count { $0.kind == 6 } == 5)
  }

  @Test("a port that nobody has open, and wrong options, are refused")
  func refusals() throws {
    let outcome = try Command.netmap.run("capture", "netmap:nobody{1", "-w", "/dev/null")
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("no program has the port open"))
    for arguments in [["vale0:a"], ["vale0:a", "-w", "/dev/null", "--slots", "1"]] {
      #expect(try Command.netmap.run(["capture"] + arguments).status == 64)
    }
    let unwritable = try Command.netmap.run("capture", "vale9:x", "-w", "/nosuch/file")
    #expect(unwritable.status == 1)
  }
}
