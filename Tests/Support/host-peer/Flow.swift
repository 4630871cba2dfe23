import Glibc
import Netmap

extension HostPeer {
  /// Sends batches of packets, with a pause in microseconds after each; with a count of 0, without
  /// end.
  static func sendFlow(_ port: NetmapPort, sender: UInt64, count: UInt64, pause: UInt32) throws {
    say("ready")
    var number: UInt64 = 0
    while count == 0 || number < count {
      var ring = port.transmitRing(0)
      let room = min(ring.space, 32, count == 0 ? .max : Int(count - number))
      for _ in 0..<room {
        let content = Content(sender: sender, number: number)
        guard ring.append(length: 60, { content.write(to: &$0) }) else { break }
        number += 1
      }
      if room == 0 {
        _ = try port.wait(for: .transmit, timeout: .milliseconds(10))
      } else {
        try port.sync(.transmit)
      }
      if pause > 0 { usleep(pause) }
    }
    say("sent \(number)")
  }

  /// Receives packets.
  ///
  /// Each must be undamaged, and have a higher number than its sender's previous packet.
  static func receiveFlow(_ port: NetmapPort, count: UInt64) throws {
    say("ready")
    var (received, missing) = (UInt64(0), UInt64(0))
    var last: [UInt64: UInt64] = [:]
    while count == 0 || received < count {
      // The sync throws the reason when the interface has gone.
      if try port.wait(for: .receive).contains(.error) { try port.sync(.receive) }
      var ring = port.receiveRing(0)
      while count == 0 || received < count, let packet = ring.next() {
        guard let content = Content(packet.bytes) else {
          fail("damaged after \(received), \(packet.bytes.byteCount) bytes")
        }
        if let before = last[content.sender] {
          guard content.number > before else {
            fail("\(content.number) of \(content.sender) after \(before)")
          }
          missing += content.number - before - 1
        }
        last[content.sender] = content.number
        received += 1
      }
    }
    say("received \(received) of \(last.keys.sorted()), \(missing) missing")
  }
}
