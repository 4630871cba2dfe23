import Testing

@testable import NetmapCore

/// The bytes end at memory that cannot be read, so these tests crash if a view reads past the end.
@Suite("No packet makes a view trap or read past the end")
struct MalformedPacketTests {
  @Test("valid frames, cut to every length")
  func lengths() throws {
    var memory = try GuardedBytes()
    for frame in HeaderSamples.all {
      let header = EthernetFrame(frame.bytes)?.headerLength ?? 0
      #expect(header >= 14)
      for length in 0...frame.count {
        memory.with(frame.prefix(length)) { bytes in
          let reached = HeaderReads.all(bytes.bytes)
          #expect((reached > 0) == (length >= header))
          HeaderWrites.all(&bytes)
        }
        for view in 0..<HeaderReads.count {
          memory.with(frame.dropFirst(14).prefix(length)) { HeaderReads.one(view, $0.bytes) }
        }
      }
    }
  }

  @Test("frames with random bytes")
  func random() throws {
    var memory = try GuardedBytes()
    var random = SplitMix(state: 7)
    let starts: [[UInt8]] = [
      [0x08, 0, 0x45], [0x86, 0xdd, 0x60], [0x81, 0, 0], [0x08, 0x06, 0],
    ]
    var reached = 0
    for round in 0..<20_000 {
      let length = Int.random(in: 0...120, using: &random)
      var bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      // Most random bytes are no IP packet: let some begin as one.
      if length > 40, round % 8 < 6 {
        bytes.replaceSubrange(12..<15, with: starts[round % starts.count])
      }
      if length > 40, round % 16 < 8 {
        bytes[20] = [0, 43, 44, 51, 60, 6, 17, 58][round % 8]
        bytes[23] = [1, 6, 17][round % 3]
        bytes[16] = 0
      }
      memory.with(bytes) { span in
        reached += HeaderReads.all(span.bytes)
        HeaderWrites.all(&span)
        for view in 0..<HeaderReads.count { HeaderReads.one(view, span.bytes) }
      }
    }
    #expect(reached > 20_000)
  }

  @Test("valid frames with a few random bytes")
  func damaged() throws {
    var memory = try GuardedBytes()
    var random = SplitMix(state: 8)
    let frames = HeaderSamples.all
    for round in 0..<20_000 {
      var frame = frames[round % frames.count]
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 12..<frame.count, using: &random)
        frame[place] = .random(in: 0...255, using: &random)
      }
      memory.with(frame) { bytes in
        _ = HeaderReads.all(bytes.bytes)
        HeaderWrites.all(&bytes)
      }
    }
  }

  @Test("the parser of flows reads the same headers as the views")
  func flows() throws {
    var memory = try GuardedBytes()
    var random = SplitMix(state: 9)
    let frames = HeaderSamples.all
    for round in 0..<20_000 {
      var frame = frames[round % frames.count]
      if round >= frames.count {
        let place = Int.random(in: 12..<frame.count, using: &random)
        frame[place] = .random(in: 0...255, using: &random)
      }
      memory.with(frame) { bytes in
        let flow = unsafe bytes.bytes.withUnsafeBytes { bytes -> FlowHeaders in
          guard let start = bytes.baseAddress else { return FlowHeaders() }
          return unsafe FlowHeaders(start, bytes.count)
        }
        HeaderReads.compare(flow, bytes.bytes)
      }
    }
  }
}

/// A fixed sequence of random numbers.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }
}
