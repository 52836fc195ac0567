// One identity for the app, one for the migrations. What each may do stands in the module of the thing it may do it to.

@description('Suffix of the resource names.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${name}-app'
  location: location
  tags: tags
}

resource migrator 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${name}-migrator'
  location: location
  tags: tags
}

@description('Resource id of the app\'s identity.')
output appIdentityId string = app.id
@description('Name of the app\'s identity, which is its role in PostgreSQL too.')
output appIdentityName string = app.name
@description('Client id of the app\'s identity.')
output appClientId string = app.properties.clientId
@description('Object id of the app\'s identity.')
output appPrincipalId string = app.properties.principalId
@description('Resource id of the migration identity.')
output migratorIdentityId string = migrator.id
@description('Name of the migration identity, which owns the tables.')
output migratorName string = migrator.name
@description('Client id of the migration identity.')
output migratorClientId string = migrator.properties.clientId
@description('Object id of the migration identity.')
output migratorPrincipalId string = migrator.properties.principalId
