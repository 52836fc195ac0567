// One private endpoint with its record in a private DNS zone.

@description('Name of the endpoint.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('Subnet of the endpoint.')
param subnetId string
@description('What is reached through it.')
param targetId string
@description('Which part of the target, for example blob.')
param groupId string
@description('Zone that the address is entered in.')
param zoneId string

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      {
        name: name
        properties: {
          privateLinkServiceId: targetId
          groupIds: [groupId]
        }
      }
    ]
  }
}

resource zoneGroup 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: 'default'
        properties: { privateDnsZoneId: zoneId }
      }
    ]
  }
}
