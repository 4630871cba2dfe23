internal import Netmap

/// Addresses and ports that change from packet to packet, counting like an odometer.
///
/// The source port changes fastest, followed by the source address, the destination port and the
/// destination address. Each returns to its first value after its last one. The odometer edits the
/// frame in place and updates the checksums incrementally (RFC 1624).
package struct AddressOdometer {
  /// The source or the destination: an address and a port.
  private struct Half {
    let wordOffset: Int
    let portOffset: Int
    let firstWord: UInt32
    let lastWord: UInt32
    let firstPort: UInt16
    let lastPort: UInt16
    let isRandom: Bool
    var word: UInt32
    var port: UInt16

    init(_ range: AddressRange, addressOffset: Int, portOffset: Int, isRandom: Bool) {
      wordOffset = addressOffset + range.wordOffset
      self.portOffset = portOffset
      (firstWord, lastWord) = (range.words.lowerBound, range.words.upperBound)
      (firstPort, lastPort) = (range.ports.lowerBound, range.ports.upperBound)
      self.isRandom = isRandom
      word = firstWord
      port = firstPort
    }

    /// Advances by one.
    ///
    /// - Returns: Whether the other side advances too.
    @inline(__always)
    mutating func step(_ random: inout RandomSource) -> Bool {
      if isRandom {
        let number = random.next()
        word = UInt32(truncatingIfNeeded: number)
        port = UInt16(truncatingIfNeeded: number >> 32)
        return true
      }
      if port < lastPort {
        port &+= 1
        return false
      }
      port = firstPort
      if word < lastWord {
        word &+= 1
        return false
      }
      word = firstWord
      return true
    }
  }

  private var source: Half
  private var destination: Half
  private var random: RandomSource
  private let isIPv4: Bool
  private let headerChecksum: Int
  private let udpChecksum: Int

  /// - Parameters:
  ///   - layout: The offsets of the frame's fields.
  ///   - source: The range of the source. The frame holds its first value.
  ///   - destination: The range of the destination.
  ///   - options: Say which side is random instead.
  ///   - seed: The seed of the random numbers.
  package init(
    _ layout: FrameLayout, _ source: AddressRange, _ destination: AddressRange,
    _ options: GenerationOptions, seed: UInt64
  ) {
    self.source = Half(
      source, addressOffset: layout.sourceAddress, portOffset: layout.udp,
      isRandom: options.contains(.randomSource))
    self.destination = Half(
      destination, addressOffset: layout.destinationAddress, portOffset: layout.udp + 2,
      isRandom: options.contains(.randomDestination))
    random = RandomSource(seed: seed)
    isIPv4 = layout.family == .ipv4
    headerChecksum = layout.headerChecksum
    udpChecksum = layout.udpChecksum
  }

  /// Advances the frame to the next addresses and ports.
  ///
  /// - Parameter frame: The frame from its Ethernet header on, with valid checksums.
  @unsafe @inline(__always)
  package mutating func advance(_ frame: UnsafeMutableRawPointer) {
    let (oldSource, oldSourcePort) = (source.word, source.port)
    let carries = source.step(&random)
    var addresses = ChecksumChange()
    var ports = ChecksumChange()
    unsafe Self.put(
      source, frame, oldSource, oldSourcePort, isIPv4, &addresses, &ports)
    if carries {
      let (oldDestination, oldDestinationPort) = (destination.word, destination.port)
      _ = destination.step(&random)
      unsafe Self.put(
        destination, frame, oldDestination, oldDestinationPort, isIPv4, &addresses, &ports)
    }
    if isIPv4, !addresses.isEmpty {
      let old = unsafe Self.word(frame, headerChecksum)
      unsafe Self.put(frame, headerChecksum, addresses.applied(to: old))
    }
    let old = unsafe Self.word(frame, udpChecksum)
    ports.add(addresses)
    unsafe Self.put(frame, udpChecksum, ports.applied(toUDP: old))
  }

  /// Writes the changed fields of one side, and adds up the changes for the checksums.
  @inline(__always)
  private static func put(
    _ half: Half, _ frame: UnsafeMutableRawPointer, _ oldWord: UInt32, _ oldPort: UInt16,
    _ isIPv4: Bool, _ addresses: inout ChecksumChange, _ ports: inout ChecksumChange
  ) {
    if half.port != oldPort {
      ports.replace(oldPort, with: half.port)
      unsafe put(frame, half.portOffset, half.port)
    }
    guard half.word != oldWord else { return }
    if isIPv4 {
      addresses.replace(oldWord, with: half.word)
      unsafe frame.storeBytes(
        of: half.word.bigEndian, toByteOffset: half.wordOffset, as: UInt32.self)
    } else {
      let (old, new) = (
        UInt16(truncatingIfNeeded: oldWord), UInt16(truncatingIfNeeded: half.word)
      )
      addresses.replace(old, with: new)
      unsafe put(frame, half.wordOffset, new)
    }
  }

  @inline(__always)
  private static func word(_ frame: UnsafeMutableRawPointer, _ offset: Int) -> UInt16 {
    unsafe UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  @inline(__always)
  private static func put(_ frame: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt16) {
    unsafe frame.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
  }
}
