public import NetmapCore

/// The packets that have arrived in a receive ring, read in order.
///
/// Taking a packet moves the ring's head past it; the next sync or wait of the port returns its slots to the
/// engine. Until then its bytes stay unchanged. The view keeps the number of packets that it found at its
/// creation, and cannot outlive the port.
///
/// On a VALE switch a packet can be empty: a sender that dies while it fills slots leaves them with length 0,
/// followed by packets of other senders. Skip empty packets.
@safe @frozen
public struct ReceiveRing: ~Copyable, ~Escapable {
  @usableFromInline let ring: Ring
  @usableFromInline let origin: UnsafeMutablePointer<RingOrigin>
  /// As in ``TransmitRing``.
  @usableFromInline let offsetMask: UInt64
  /// The next slot to take: the ring's head.
  @usableFromInline var position: UInt32
  /// The first slot that holds no packet.
  @usableFromInline let end: UInt32

  @inlinable
  @_lifetime(immortal)
  init(_ ring: Ring, _ origin: UnsafeMutablePointer<RingOrigin>) {
    unsafe self.ring = ring
    unsafe self.origin = origin
    offsetMask = unsafe ring.offsetMask
    // As in TransmitRing, cursors out of range mean an empty ring.
    let (head, tail) = unsafe (ring.head, ring.tail)
    let isSound = unsafe head < ring.slotCount && tail < ring.slotCount
    position = isSound ? head : 0
    end = isSound ? tail : 0
  }

  /// Number of slots that hold packets or fragments.
  @inlinable
  public var count: Int { unsafe Int(ring.distance(from: position, to: end)) }

  /// Whether all packets have been taken.
  @inlinable
  public var isEmpty: Bool { position == end }

  /// Number of slots in the ring; one of them always stays empty.
  @inlinable
  public var slotCount: Int { unsafe Int(ring.slotCount) }

  /// When the packets became visible: wall-clock time since 1970 of the last sync of this ring.
  ///
  /// Microsecond resolution. All packets that became visible in one sync have the same time stamp.
  public var timestamp: Duration {
    unsafe .seconds(ring.timestamp.seconds) + .microseconds(ring.timestamp.microseconds)
  }

  /// Takes the next packet.
  ///
  /// A packet that is longer than a buffer spans several slots; see ``Packet/fragmentCount``. If the sender has not
  /// sent its last fragment yet, the packet stays in the ring, and the next wait sleeps until more slots arrive.
  ///
  /// - Returns: The packet, whose bytes can be read until the next call; nil when the ring holds no complete packet.
  @inlinable
  @_lifetime(&self)
  public mutating func next() -> Packet? {
    guard position != end else { return nil }
    let slot = unsafe ring.place(position).snapshot()
    if slot.flags.contains(.moreFragments) { return nextFragmented(slot) }
    advance()
    return unsafe _overrideLifetime(Packet(ring, slot, offsetMask), mutating: &self)
  }

  /// Takes the next slot: a packet, or one fragment of a packet.
  ///
  /// For programs that handle fragments themselves, for example because they forward packets longer than the ring.
  ///
  /// - Returns: The slot's bytes as a packet with one fragment; nil when all slots have been taken.
  @inlinable
  @_lifetime(&self)
  public mutating func nextSlot() -> Packet? {
    guard position != end else { return nil }
    let slot = unsafe ring.place(position).snapshot()
    advance()
    return unsafe _overrideLifetime(Packet(ring, slot, offsetMask), mutating: &self)
  }

  /// Takes the packet of several slots that begins at the ring's head.
  @inline(never)
  @usableFromInline
  @_lifetime(&self)
  mutating func nextFragmented(_ first: Slot) -> Packet? {
    let count = findFragments(at: position)
    guard count > 0 else {
      waitForMore()
      return nil
    }
    let packet = unsafe Packet(ring, first, offsetMask, several: origin)
    unsafe move(to: ring.index(position, advancedBy: count))
    return unsafe _overrideLifetime(packet, mutating: &self)
  }

  /// Finds the fragments of the packet that begins at slot `index`, and notes them in the ring's origin.
  ///
  /// A packet that fills the ring is complete as it is, because no further fragment can arrive. Loads the flags of
  /// each slot once.
  ///
  /// - Returns: The number of slots; 0 when the last fragment has not arrived.
  @inline(never)
  @usableFromInline
  func findFragments(at index: UInt32) -> Int {
    let available = unsafe Int(ring.distance(from: index, to: end))
    var slot = index
    for number in 1...max(available, 1) {
      let flags = unsafe ring.loadWord(slot).flags
      if !flags.contains(.moreFragments) {
        unsafe origin.pointee.packet = (index, number, true)
        return number
      }
      slot = unsafe ring.next(slot)
    }
    guard unsafe available == Int(ring.slotCount) - 1 else { return 0 }
    unsafe origin.pointee.packet = (index, available, false)
    return available
  }

  /// Takes up to `limit` packets, in order.
  ///
  /// The ring's head moves once, after the last packet. ``forEachSlot(upTo:_:)`` is slightly faster where no packet
  /// spans several slots.
  ///
  /// - Parameters:
  ///   - limit: The maximum number of packets to take.
  ///   - body: Called with each packet. A packet at which it throws is the last one taken.
  /// - Returns: The number of packets taken.
  /// - Throws: What `body` throws.
  @inlinable
  @discardableResult
  public mutating func forEach<E>(
    upTo limit: Int = .max, _ body: (borrowing Packet) throws(E) -> Void
  ) throws(E) -> Int {
    let most = max(limit, 0)
    var index = position
    var taken = 0
    while index != end, taken < most {
      // The loop below is optimized for many packets in one slot each. A stretch does not wrap, so that each slot costs
      // one addition.
      let last = unsafe index < end ? end : ring.slotCount
      let stretch = min(most &- taken, Int(last &- index))
      var place = unsafe ring.place(index)
      var count = 0
      while count < stretch {
        let slot = unsafe place.snapshot()
        if slot.flags.contains(.moreFragments) { break }
        do throws(E) {
          unsafe try body(Packet(ring, slot, offsetMask))
        } catch {
          unsafe move(to: ring.index(index, advancedBy: count &+ 1))
          throw error
        }
        unsafe place += 1
        count &+= 1
      }
      taken &+= count
      index = unsafe ring.index(index, advancedBy: count)
      guard count < stretch else { continue }
      let fragments = findFragments(at: index)
      guard fragments > 0 else {
        move(to: index)
        waitForMore()
        return taken
      }
      index = unsafe ring.index(index, advancedBy: fragments)
      do throws(E) {
        unsafe try body(Packet(ring, place.snapshot(), offsetMask, several: origin))
      } catch {
        move(to: index)
        throw error
      }
      taken &+= 1
    }
    move(to: index)
    return taken
  }

  /// Takes packets, in order, for as long as `body` returns true.
  ///
  /// ```swift
  /// // Stop when the target is full. The packet that found no room is the next one to be taken.
  /// input.take { packet in output.append(packet.bytes) }
  /// ```
  ///
  /// - Parameters:
  ///   - limit: The maximum number of packets to take.
  ///   - body: Called with each packet. A packet for which it returns false, or throws, stays in the ring.
  /// - Returns: The number of packets taken.
  /// - Throws: What `body` throws.
  @inlinable
  @discardableResult
  public mutating func take<E>(
    upTo limit: Int = .max, while body: (borrowing Packet) throws(E) -> Bool
  ) throws(E) -> Int {
    let most = max(limit, 0)
    var index = position
    var taken = 0
    do throws(E) {
      while index != end, taken < most {
        let slot = unsafe ring.place(index).snapshot()
        if slot.flags.contains(.moreFragments) {
          let count = findFragments(at: index)
          guard count > 0 else {
            move(to: index)
            waitForMore()
            return taken
          }
          guard unsafe try body(Packet(ring, slot, offsetMask, several: origin)) else { break }
          index = unsafe ring.index(index, advancedBy: count)
        } else {
          guard unsafe try body(Packet(ring, slot, offsetMask)) else { break }
          index = unsafe ring.next(index)
        }
        taken &+= 1
      }
    } catch {
      move(to: index)
      throw error
    }
    move(to: index)
    return taken
  }

  /// Takes up to `limit` slots: the fastest way to receive many packets that fit one slot each.
  ///
  /// The ring's head moves once, after the last slot.
  ///
  /// - Parameters:
  ///   - limit: The maximum number of slots to take.
  ///   - body: Called with each packet, or fragment of a packet, in order. A slot at which it throws is the last one
  ///     taken.
  /// - Returns: The number of slots taken.
  /// - Throws: What `body` throws.
  @_transparent
  @discardableResult
  public mutating func forEachSlot<E>(
    upTo limit: Int = .max, _ body: (borrowing Packet) throws(E) -> Void
  ) throws(E) -> Int {
    // The method is transparent, because the compiler does not inline a method that calls a throwing body in three
    // places, not even with `@inline(__always)`. It would keep the captures of `body` in memory.
    let taken = min(max(limit, 0), count)
    var index = position
    var left = taken
    if offsetMask != 0 {
      while left > 0 {
        let slot = unsafe ring.load(index)
        index = unsafe ring.next(index)
        do throws(E) {
          unsafe try body(Packet(ring, slot, offsetMask))
        } catch {
          move(to: index)
          throw error
        }
        left &-= 1
      }
      move(to: index)
      return taken
    }
    // The loop below is optimized for many packets.
    if taken == 1 {
      defer { advance() }
      unsafe try body(Packet(ring, ring.place(index).snapshot(), 0))
      return 1
    }
    while left > 0 {
      // A stretch does not wrap, so that each slot costs one addition.
      let stretch = unsafe min(left, Int(ring.slotCount &- index))
      var slot = unsafe ring.place(index)
      for number in 0..<stretch {
        do throws(E) {
          unsafe try body(Packet(ring, slot.snapshot(), 0))
        } catch {
          unsafe move(to: ring.index(index, advancedBy: number &+ 1))
          throw error
        }
        unsafe slot += 1
      }
      left &-= stretch
      index = unsafe ring.index(index, advancedBy: stretch)
    }
    move(to: index)
    return taken
  }

  /// Takes up to `limit` slots without reading them.
  ///
  /// - Returns: The number of slots taken.
  @inlinable
  @discardableResult
  public mutating func skip(_ limit: Int = .max) -> Int {
    let taken = min(max(limit, 0), count)
    unsafe move(to: ring.index(position, advancedBy: taken))
    return taken
  }

  /// Makes the next wait sleep until more packets arrive, even if packets are left (`cur = tail`).
  public mutating func waitForMore() {
    unsafe ring.cur = end
  }

  /// The ring in shared memory, for uses that this interface does not cover.
  ///
  /// The caller is responsible for every index that it writes. The next sync resets a ring in an illegal state.
  @unsafe @inlinable
  public var unsafeRing: Ring { unsafe ring }

  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func advance() {
    unsafe move(to: ring.next(position))
  }

  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func move(to index: UInt32) {
    position = index
    unsafe ring.cur = index
    unsafe ring.head = index
  }
}
