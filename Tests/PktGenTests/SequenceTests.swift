import Netmap
import PktGenCore
import Testing
import ToolSupport

@Suite("Numbered packets")
struct SequenceTests {
  @Test("txseq to rxseq: no gaps", arguments: ["", "-6 -l 80", "-F 3", "-R 10000 -F 2", "-H 10"])
  func noGaps(options: String) throws {
    let engine = try EmbeddedEngine()
    let header = options == "-H 10" ? options : ""
    let receiver = try Run("-i netmap:t}1 -f rxseq --json \(header)", engine)
    try receiver.waitFor("reading from")
    let sender = try Run("-i netmap:t{1 -f txseq -n 5 \(options)", engine)
    try sender.waitFor("start, fd")
    Clock.sleep(nanoseconds: options.contains("-R") ? 2_200_000_000 : 100_000_000)
    sender.stop()
    #expect(sender.wait() == 0)
    Clock.sleep(nanoseconds: 50_000_000)
    receiver.stop()
    #expect(receiver.wait() == 0)
    #expect(sender.log.has("Ignoring -n argument"))
    #expect(!receiver.log.has("Sequence ") && !receiver.log.has("frags, expected"))
    #expect(
      receiver.output.has(#""sequence":{"gaps":0,"missing":0,"out_of_order":0,"too_short":0"#))
    let sent = try #require(sender.output.lines.first { $0.hasPrefix("Sent ") })
    let words = sent.split(separator: " ")
    #expect((Int(words[1]) ?? 0) > 5)
    if !options.isEmpty { #expect((Int(words[1]) ?? 1) % (options.contains("-F 3") ? 3 : 1) == 0) }
  }

  @Test("numbers are at the start of the payload, and checksums stay valid")
  func numbers() throws {
    let engine = try EmbeddedEngine()
    let far = try NetmapPort("netmap:t}1", engine: engine)
    let sender = try Run("-i netmap:t{1 -f txseq -s 10.0.0.1-10.0.0.3", engine)
    let frames = try far.takeSlots(2000).map(\.bytes)
    sender.stop()
    #expect(sender.wait() == 0)
    for (index, frame) in frames.enumerated() {
      #expect(DecodedFrame(frame).isValid)
      #expect(
        Array(frame[42..<46]) == [0, 0, UInt8(index >> 8), UInt8(index & 0xff)])
      #expect(frame[29] == UInt8(1 + index % 3))
    }
  }

  private func frame(_ number: UInt32, size: Int = 60) -> [UInt8] {
    var frame = [UInt8](repeating: 0, count: size)
    frame[12] = 0x08
    for index in 0..<4 where 42 + index < size {
      frame[42 + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - index * 8))
    }
    return frame
  }

  @Test(
    "a missing packet is one gap line; late, short and differently cut packets are reported apart")
  func findings() throws {
    let engine = try EmbeddedEngine()
    let receiver = try Run("-i netmap:t}1 -f rxseq -W --json", engine)
    let source = try NetmapPort("netmap:t{1", engine: engine)
    for number: UInt32 in [100, 101, 103, 104] { try source.inject(frame(number)) }
    try source.sync(.transmit)
    try receiver.waitFor("Sequence GAP: exp 102 found 103")
    try source.inject(frame(102))
    try source.inject(frame(0, size: 45))
    try source.inject([UInt8](repeating: 0, count: 3000))
    try source.sync(.transmit)
    #expect(receiver.wait() == 0)
    #expect(receiver.log.count("Sequence GAP") == 1)
    #expect(receiver.log.has("Sequence OUT OF ORDER: exp 105 found 102"))
    #expect(receiver.log.has("packet too small (len=45)"))
    #expect(receiver.log.has("Received packets with 2 frags, expected 1, '|2048,20||952,0|'"))
    #expect(receiver.output.has(#""gaps":1,"missing":1,"out_of_order":"#))
    #expect(receiver.output.has("Received 8 packets "))
  }
}
