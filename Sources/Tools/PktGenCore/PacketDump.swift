internal import Netmap
internal import ToolSupport

/// Prints slots and their bytes, for `-X`.
enum PacketDump {
  /// Prints the slots `first..<end` of ring number `index`.
  @unsafe
  static func print(
    _ ring: Ring, from first: UInt32, upTo end: UInt32, _ index: Int, _ output: TextSink
  ) {
    var place = first
    while place != end {
      let slot = unsafe ring.slot(place).pointee
      let length = unsafe min(Int(slot.length), Int(ring.bufferSize))
      let bytes = unsafe [UInt8](
        UnsafeRawBufferPointer(start: ring.buffer(slot.bufferIndex), count: length))
      output.write(text(bytes, slot, ring: index, at: place))
      place = unsafe ring.next(place)
    }
  }

  /// The text for one slot: a header line, then 16 bytes per line in hexadecimal and ASCII.
  static func text(_ bytes: [UInt8], _ slot: Slot, ring: Int, at place: UInt32) -> String {
    let flags = TextFormat.hexadecimal(slot.flags.rawValue, 4)
    var text =
      "ring \(ring) cur \(TextFormat.padded(place, 5)) [buf \(TextFormat.padded(slot.bufferIndex, 6))"
      + " flags 0x\(flags) len \(TextFormat.padded(bytes.count, 5))]\n"
    for start in stride(from: 0, to: bytes.count, by: 16) {
      let row = bytes[start..<min(start + 16, bytes.count)]
      let pairs = row.map { TextFormat.hexadecimal($0, 2) + " " }.joined()
      let characters = row.map { (0x20..<0x7f).contains($0) ? Character(UnicodeScalar($0)) : "." }
      text += TextFormat.padded(start, 5) + ": " + pairs.left(48) + String(characters) + "\n"
    }
    return text
  }
}
