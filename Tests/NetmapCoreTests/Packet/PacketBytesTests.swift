import NetmapCore
import Testing

@Suite("Reading and writing bytes of packets")
struct PacketBytesTests {
  @Test("fields are in network order, at any alignment")
  func fields() {
    let bytes = [UInt8](0..<20)
    #expect(bytes.bytes[19] == 19)
    #expect(bytes.bytes.uint16(at: 1) == 0x0102)
    #expect(bytes.bytes.uint32(at: 3) == 0x0304_0506)
    #expect(bytes.bytes.uint64(at: 11) == 0x0b0c_0d0e_0f10_1112)
    var copy = [UInt8](repeating: 0, count: 20)
    var span = copy.mutableBytes
    span.setUInt16(0x0102, at: 1)
    span.setUInt32(0x0304_0506, at: 3)
    span.setUInt64(0x0b0c_0d0e_0f10_1112, at: 11)
    span[7] = 7
    #expect(span.uint16(at: 1) == 0x0102 && span.uint32(at: 3) == 0x0304_0506)
    #expect(span.uint64(at: 11) == 0x0b0c_0d0e_0f10_1112 && span[7] == 7)
    #expect(copy[1..<8] == [1, 2, 3, 4, 5, 6, 7] && Array(copy[11..<19]) == [UInt8](11..<19))
  }

  @Test("exchange swaps two ranges")
  func exchange() {
    var bytes = [UInt8](0..<12)
    var span = bytes.mutableBytes
    span.exchange(0, 6, count: 6)
    #expect(bytes == [UInt8](6..<12) + [UInt8](0..<6))
  }

  @Test("spans and arrays")
  func arrays() {
    let bytes = [UInt8](0..<12)
    #expect(Array(bytes.bytes) == bytes)
    #expect(Array(bytes.bytes.extracting(3..<5)) == [3, 4])
    // Changing a copy leaves the original as it was.
    var copy = bytes
    var span = copy.mutableBytes
    span[0] = 99
    #expect(bytes[0] == 0 && copy[0] == 99)
    var none: [UInt8] = []
    #expect(Array(none.bytes) == [])
    #expect(none.mutableBytes.byteCount == 0)
  }
}
