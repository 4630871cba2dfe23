import Glibc
import Netmap

/// A frame with its number: 12 bytes of addresses, a type, the number, and a pattern.
func numberedFrame(_ number: Int, length: Int, vlan: UInt16? = nil) -> [UInt8] {
  var frame = [UInt8](repeating: 0, count: length)
  frame.replaceSubrange(0..<12, with: [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1])
  var type = 12
  if let vlan {
    frame.replaceSubrange(12..<16, with: [0x81, 0x00, UInt8(vlan >> 8), UInt8(vlan & 0xff)])
    type = 16
  }
  // 0x88b5 is IEEE 802's type for experiments; no protocol of the host reacts to it.
  frame.replaceSubrange(type..<type + 2, with: [0x88, 0xb5])
  for index in 0..<4 { frame[type + 2 + index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
  for index in (type + 6)..<length {
    frame[index] = UInt8(truncatingIfNeeded: index &* 7 &+ number)
  }
  return frame
}

extension NetmapPort {
  /// Sends frames in order, each in as many slots as it needs. Waits for room when the ring is full.
  func send(_ frames: [[UInt8]], slotLength: Int? = nil) throws {
    let limit = slotLength ?? bufferSize
    for frame in frames {
      let slots = max(1, (frame.count + limit - 1) / limit)
      while transmitRing(0).space < slots {
        guard try wait(for: .transmit, timeout: .seconds(5)) == .transmit else {
          throw TestFailure("no room in the transmit ring after 5 seconds: \(statistics)")
        }
      }
      var ring = transmitRing(0)
      for slot in 0..<slots {
        let part = [UInt8](frame[(slot * limit)..<min(frame.count, (slot + 1) * limit)])
        _ = unsafe ring.append(part.span.bytes, flags: slot + 1 < slots ? .moreFragments : [])
      }
    }
    try flush()
  }

  /// Sends all queued frames. A busy host may refuse some of them for a while.
  func flush() throws {
    try sync(.transmit)
    for _ in 0..<100 where transmitRing(0).space < transmitRing(0).slotCount - 1 {
      usleep(1000)
      try sync(.transmit)
    }
  }

  /// Receives frames, with fragments joined, until there are `count` or none arrives for a second.
  func receive(_ count: Int) throws -> [[UInt8]] {
    var frames: [[UInt8]] = []
    var partial: [UInt8] = []
    while frames.count < count {
      guard try wait(for: .receive, timeout: .seconds(1)) == .receive else { break }
      for index in 0..<receiveRingCount {
        var ring = receiveRing(index)
        while let slot = ring.nextSlot() {
          partial += [UInt8](slot)
          guard slot.isComplete else { continue }
          frames.append(partial)
          partial = []
        }
      }
    }
    return frames
  }
}

struct TestFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// The number of a ``numberedFrame(_:length:vlan:)`` without a tag; nil for another frame.
func numberInFrame(_ frame: [UInt8]) -> Int? {
  guard frame.count >= 18, frame[12] == 0x88, frame[13] == 0xb5 else { return nil }
  return (0..<4).reduce(0) { $0 + Int(frame[14 + $1]) << (8 * $1) }
}
