import NetmapCore
import Testing

@Suite("The Internet checksum")
struct InternetChecksumTests {
  @Test("the example of RFC 1071")
  func example() {
    let bytes: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
    #expect(InternetChecksum(bytes.bytes).field == ~0xddf2)
  }

  @Test("an IPv4 header")
  func header() {
    var bytes: [UInt8] = [
      0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00, 0x01,
      0xc0, 0xa8, 0x00, 0xc7,
    ]
    #expect(InternetChecksum(bytes.bytes).field == 0xb861)
    #expect(!InternetChecksum(bytes.bytes).isValid)
    bytes.replaceSubrange(10..<12, with: [0xb8, 0x61])
    #expect(InternetChecksum(bytes.bytes).isValid)
  }

  @Test("an odd last byte is the high half of a word")
  func odd() {
    let (bytes, none): ([UInt8], [UInt8]) = ([0x12, 0x34, 0x56], [])
    #expect(InternetChecksum(bytes.bytes).field == 0xffff - 0x6834)
    #expect(InternetChecksum(none.bytes).field == 0xffff)
  }

  @Test("random bytes, in one part and in many, as summed byte by byte")
  func random() {
    var random = SystemRandomNumberGenerator()
    for length in 0..<600 {
      let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      let expected = HeaderSamples.checksum(bytes)
      #expect(InternetChecksum(bytes.bytes).field == expected)
      var parts = InternetChecksum()
      let middle = Int.random(in: 0...length / 2) * 2
      parts.add(bytes.bytes.extracting(first: middle))
      parts.add(bytes.bytes.extracting(droppingFirst: middle))
      #expect(parts.field == expected)
      var words = InternetChecksum()
      for offset in stride(from: 0, to: length & ~3, by: 4) {
        words.add(bytes.bytes.uint32(at: offset))
      }
      words.add(bytes.bytes.extracting(droppingFirst: length & ~3))
      #expect(words.field == expected)
    }
  }

  @Test("the largest packet does not overflow")
  func large() {
    let bytes = [UInt8](repeating: 0xff, count: 65536)
    var sum = InternetChecksum()
    for _ in 0..<1000 { sum.add(bytes.bytes) }
    #expect(sum.field == 0)
  }

  @Test("in UDP, 0 means that there is no checksum")
  func udp() {
    var sum = InternetChecksum()
    sum.add(0xffff as UInt16)
    #expect(sum.field == 0 && sum.udpField == 0xffff)
    var change = ChecksumChange()
    change.replace(0, with: 0xfffe as UInt16)
    #expect(change.applied(toUDP: 0xfffe) != 0)
    #expect(change.applied(toUDP: 0) == 0)
  }

  @Test("the example of RFC 1624")
  func change() {
    var change = ChecksumChange()
    #expect(change.isEmpty)
    change.replace(0x5555 as UInt16, with: 0x3285)
    #expect(!change.isEmpty && change.applied(to: 0xdd2f) == 0)
  }

  @Test("changes give the checksums that are computed anew")
  func changes() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<1000 {
      var bytes = (0..<64).map { _ in UInt8.random(in: 0...255, using: &random) }
      let before = InternetChecksum(bytes.bytes).field
      var (change, second) = (ChecksumChange(), ChecksumChange())
      let (word, words) = (UInt16.random(in: 0...(.max)), UInt32.random(in: 0...(.max)))
      change.replace(bytes.bytes.uint16(at: 6), with: word)
      second.replace(bytes.bytes.uint32(at: 40), with: words)
      change.add(second)
      var edited = bytes.mutableBytes
      edited.setUInt16(word, at: 6)
      edited.setUInt32(words, at: 40)
      #expect(change.applied(to: before) == InternetChecksum(bytes.bytes).field)
    }
  }
}
